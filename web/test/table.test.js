/** Files with several names, as the table of a report tells them. */

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Table} from '../src/data/table.js';

/** /a and its hard link /d/b of layer 1; layer 2 writes /a again, layer 3 deletes /d/b. */
const TABLE = new Table({
  paths: {up: [0, 1, 2, 1], name: '/a/d/b', raw: {}, copies: [0, 2, 1, 1]},
  copies: {
    type: 'ffdh', layer: [1, 2, 1, 1], size: [100, 100, 0, 0], mode: [420, 420, 493, 420], owner: [0, 0, 0, 0], mtime: [0, 0, 0, 0],
    ended: [2, 0, 0, 3], cause: [5, 0, 0, 1], same: {1: 0}, link: {3: 'a'}, n: {},
  },
  owners: [[0, 0]], names: [[0, 1, 3, 3]],
}, 3);

/** @param {number} at */
function told(at) {
  const sums = TABLE.sums(at, 0);
  return [1, 3, 2, 0].map((path) => [sums.size[path], sums.waste[path], TABLE.holders(sums, path)]);
}

test('the bytes of a file are those of its first name to be seen, and of the last that went', () => {
  assert.deepEqual(told(1), [[100, 0, [1]], [0, 0, []], [0, 0, []], [100, 0, [1]]]);
  assert.deepEqual(told(2), [[100, 0, [2]], [100, 0, [1]], [100, 0, [1]], [200, 0, [1, 2]]]);
  assert.deepEqual(told(3), [[100, 0, [2]], [0, 100, [1]], [0, 100, [1]], [100, 100, [1, 2]]]);
});

test('without one of its names a file stays', () => {
  assert.equal(TABLE.weight(1), 100);
  assert.equal(TABLE.weight(2), 0);
  assert.equal(TABLE.weight(0), 200);
  assert.equal(TABLE.squashed(1, 2), 0);
  assert.equal(TABLE.squashed(1, 3), 100);
});

test('what a path did to a hard link is told', () => {
  const told = (/** @type {number} */ path) => TABLE.events(path, () => '').map(({layer, op, names, broke}) => [layer, op, names, broke]);
  assert.deepEqual(told(1), [[1, 'A', ['/d/b'], []], [2, 'P', [], ['/d/b']]]);
  assert.deepEqual(told(3), [[1, 'A', ['/a'], []], [3, 'D', [], []]]);
});
