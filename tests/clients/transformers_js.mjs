// transformers.js in Node: FOLDER GRAPH PEER, JSON texts or pairs on stdin, JSON scores by label on stdout.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname } from 'node:path';
import { pathToFileURL } from 'node:url';

import { answers } from './answers.mjs';

const [folder, graph, peer] = process.argv.slice(2);
const entry = createRequire(`${peer}/`).resolve('@huggingface/transformers');
const found = await import(pathToFileURL(entry).href);
const transformers = found.default ?? found;
transformers.env.allowRemoteModels = false;
transformers.env.localModelPath = dirname(folder);
const texts = JSON.parse(readFileSync(0, 'utf8'));
for (const scores of await answers(transformers, basename(folder), graph, texts)) console.log(JSON.stringify(scores));
