// transformers.js in Node: FOLDER GRAPH PEER, JSON texts on stdin, JSON scores by label on stdout.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, graph, peer] = process.argv.slice(2);
const entry = createRequire(`${peer}/`).resolve('@huggingface/transformers');
const found = await import(pathToFileURL(entry).href);
const { env, pipeline } = found.default ?? found;
env.allowRemoteModels = false;
env.localModelPath = dirname(folder);
const dtype = graph.includes('quantized') ? 'q8' : 'fp32';
const classify = await pipeline('text-classification', basename(folder), { dtype });
for (const text of JSON.parse(readFileSync(0, 'utf8'))) {
  const scores = await classify(text, { top_k: null });
  console.log(JSON.stringify(Object.fromEntries(scores.map(({ label, score }) => [label, score]))));
}
