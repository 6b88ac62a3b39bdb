/** Whose files a page shows where a platform was chosen. */

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {image} from '../src/pages/image.js';

Object.assign(globalThis, {document: {activeElement: null}});

const ID = `sha256:${'a'.repeat(64)}`;
const LAYER = {index: 1, stored: 1, net: 1, cumulative: 1, waste_made: 0, waste_held: 0, instruction: 'RUN x', keyword: 'RUN', created: '', created_by: '',
  blob_size: 1, blob_digest: '', media_type: '', chain_id: 'c', diff_id: 'd', n: {A: 1, M: 0, P: 0, D: 0, O: 0}, instr: null, empty_before: [], same_chain: {base: '', others: 0}, same_diff: []};
const FOUND = {ref: 'app:1', id: ID, digest: '', platform: 'linux/arm64', platforms: ['linux/amd64', 'linux/arm64'], platforms_here: ['linux/amd64', 'linux/arm64'], created: '', author: '', tags: ['app:1'],
  where: 'store', stored: 1, visible: 1, wasted: 0, efficiency: 1, blob_size: 1, layers: [LAYER], after: [], unplaced: [], doubts: [], base: null, config: {}};

/** What is asked of the source while the page is drawn. @param {Record<string, string>} query */
function asked(query) {
  /** @type {string[]} */
  const refs = [];
  const source = new Proxy({embedded: false, order: [], least: () => 0}, {
    get: (known, name) => name in known ? Reflect.get(known, name) : (/** @type {string} */ ref) => refs.push(ref),
  });
  const router = {
    route: {page: 'image', ref: 'app:1'}, get: (/** @type {string} */ name) => query[name] ?? '', href: () => '', here: () => '', set: () => undefined,
    number: (/** @type {string} */ _, /** @type {number} */ otherwise) => otherwise,
    choice: (/** @type {string} */ name, /** @type {string[]} */ choices) => query[name] ?? choices[0],
  };
  const get = (/** @type {string} */ key, /** @type {() => unknown} */ ask) => {
    if (key.startsWith('image ')) return {value: FOUND};
    ask();
    return {pending: true};
  };
  const memories = new Map();
  const app = {source, router, keys: new Map(), after: [], verdicts: [], asked: {get, latest: (/** @type {string} */ _, /** @type {string} */ key, /** @type {() => unknown} */ ask) => get(key, ask)},
    memory: (/** @type {string} */ name, /** @type {() => unknown} */ make) => memories.get(name) ?? memories.set(name, make()).get(name)};
  image(/** @type {any} */ (app));
  return refs;
}

for (const tab of ['map', 'waste', 'findings', 'labels', 'dockerfile']) {
  test(`the tab ${tab} asks of the image of the chosen platform, and of no other`, () => {
    const refs = asked({platform: 'linux/arm64', tab});
    assert.ok(refs.includes(ID) && !refs.includes('app:1'), refs.join());
    assert.ok(asked({tab}).includes('app:1'));
  });
}
