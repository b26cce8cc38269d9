// Loads ./model, an int8 folder of compress, and shows its scores for what is typed.
import { env, pipeline } from '@huggingface/transformers';

const PAUSE_MS = 120; // in typing, before the text is read
const SHOWN = 10; // labels at most

const [text, status, list] = ['text', 'status', 'scores'].map((id) => document.getElementById(id));

env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = new URL('.', location.href).pathname;
const library = new URL(import.meta.resolve('@huggingface/transformers'));
if (library.origin === location.origin) {
  // A copy in node_modules: its WebAssembly lies beside it. (From the CDN, the library knows where.)
  env.backends.onnx.wasm.wasmPaths = new URL('../../../onnxruntime-web/dist/', library).href;
}

// What `compress calibrate` chose for the model, if it did, and whether several labels may apply to a text.
const { decision, problem_type: problem } = await (await fetch('model/config.json')).json();
const several = problem === 'multi_label_classification';

function applies({ label, score }, place) {
  if (several) return score >= (decision?.thresholds[label] ?? 0.5);
  return place === 0 && !(score < decision?.abstain_below); // no number is below undefined
}

function show(scores, ms) {
  list.replaceChildren(...scores.slice(0, SHOWN).map(({ label, score }, place) => {
    const row = document.createElement('li');
    row.classList.toggle('applies', applies({ label, score }, place));
    row.style.setProperty('--score', score);
    row.dataset.score = score;
    const name = document.createElement('span');
    name.textContent = label; // never as HTML
    const share = document.createElement('output');
    share.textContent = `${(100 * score).toFixed(1)}%`;
    row.append(name, share);
    return row;
  }));
  const answered = scores.some(applies) ? 'Answered' : several ? 'No label applies; read' : 'Not sure enough to answer; read';
  status.textContent = scores.length ? `${answered} in ${ms.toFixed(0)} ms.` : 'Ready.';
}

// One text at a time: what is typed meanwhile is read next, what lies between is skipped.
let reading = false;
async function answer(classify) {
  if (reading) return;
  reading = true;
  try {
    let read;
    while (read !== text.value) {
      read = text.value;
      const start = performance.now();
      const scores = read.trim() ? await classify(read, { top_k: null }) : [];
      if (read === text.value) show(scores, performance.now() - start);
    }
  } catch (error) {
    fail(error);
  } finally {
    reading = false;
  }
}

function fail(error) {
  status.textContent = `This did not work: ${error.message ?? error}`;
}

try {
  const classify = await pipeline('text-classification', 'model', { dtype: 'q8', device: 'wasm' });
  let timer;
  text.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(answer, PAUSE_MS, classify);
  });
  await answer(classify); // of what was typed while the model was loading
} catch (error) {
  fail(error);
}
