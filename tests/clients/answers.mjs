// What Node and the page share: scores by label of each text or pair, by transformers.js.
export async function answers({ pipeline, softmax }, model, graph, texts) {
  const classify = await pipeline('text-classification', model, { dtype: graph.includes('quantized') ? 'q8' : 'fp32' });

  // The pipeline takes no pairs; its two parts do.
  async function scoresOfPair([text, pair]) {
    const { logits } = await classify.model(classify.tokenizer(text, { text_pair: pair, truncation: true }));
    const labels = classify.model.config.id2label;
    return Array.from(softmax(logits.data), (score, index) => ({ label: labels[index], score }));
  }

  const found = [];
  for (const text of texts) {
    const scores = Array.isArray(text) ? await scoresOfPair(text) : await classify(text, { top_k: null });
    found.push(Object.fromEntries(scores.map(({ label, score }) => [label, score])));
  }
  return found;
}
