/** Which rows of the table of files open, and how far. */

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {files} from '../src/parts/files.js';
import {called} from '../src/words.js';

Object.assign(globalThis, {document: {activeElement: null}});

/** The rows of a table in which every directory has one in it and all are open. */
function rows() {
  /** @type {string[]} */
  const asked = [];
  /** @param {string} path */
  const level = (path) => ({total: 1, next: null, entries: [{
    name: 'd', path: `${path === '/' ? '' : path}/d`, type: 'directory', op: 'U', there: true, size: 0, waste: 0, layers: [1], mode: '0755', uid: 0, gid: 0, link: '', changed: [], children: 1,
  }]});
  const state = {open: {has: () => true, delete: () => false, add: () => undefined}, asked: '', pages: new Map(), current: '', place: 0, grab: false};
  const router = {get: () => '', choice: (/** @type {string} */ _, /** @type {string[]} */ all) => all[0], set: () => undefined, here: () => '', href: () => ''};
  const app = {
    router, keys: new Map(), after: [], memory: () => state, redraw: () => undefined, source: {tree: (/** @type {string} */ _, /** @type {{path: string}} */ query) => level(query.path)},
    asked: {latest: (/** @type {string} */ _, /** @type {string} */ __, /** @type {() => unknown} */ ask) => {
      asked.push('');
      return {value: ask(), pending: false};
    }},
  };
  return {drawn: files(/** @type {any} */ (app), /** @type {any} */ ({ref: 'a'}), {since: 0, at: 1}), asked};
}

test('directories open in one another so far, and no row says it is open that shows nothing', () => {
  const {asked} = rows();
  assert.equal(asked.length, 100); // a level is asked for where one stands open; the deepest becomes the top instead
});

test('an image is called by what tells it apart', () => {
  assert.deepEqual(called('h:5000/a:1@linux/arm/v7'), {name: 'h:5000/a:1', platform: 'linux/arm/v7'});
  assert.deepEqual(called(`a@sha256:${'0'.repeat(64)}`), {name: `a@sha256:${'0'.repeat(64)}`, platform: ''});
  assert.deepEqual(called(`sha256:${'ab'.repeat(32)}`), {name: 'abababababab', platform: ''});
});
