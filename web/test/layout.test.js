import assert from 'node:assert/strict';
import test from 'node:test';
import {boxes, icicle, neighbour, SLIVER, spots, sunburst} from '../src/layout/map.js';
import {pile} from '../src/layout/pile.js';
import {lines} from '../src/layout/text.js';
import {folded, joined, LEAST, runs, walk, wall} from '../src/layout/wall.js';

/** Small numbers that look random and are the same in every run. */
function dice(seed) {
  let state = seed * 2654435761 + 1;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) >>> 0;
    return state % below;
  };
}

function directory(roll, depth, path) {
  const children = [];
  for (let n = roll(7); n > 0 && depth > 0; n -= 1) children.push(directory(roll, depth - 1, `${path}/${n}`));
  const inside = children.reduce((sum, child) => sum + child.size, 0);
  const hidden = children.reduce((sum, child) => sum + child.waste, 0);
  const other = children.length && roll(3) === 0 ? {n: roll(5) + 1, size: roll(5000), waste: 0} : null;
  return {
    name: path.split('/').pop(), path, size: inside + (other?.size ?? 0) + roll(9000), waste: hidden + roll(3) * 100, layer: 1 + roll(4),
    op: '', type: children.length ? 'd' : 'f', children, other,
  };
}

function stacks(roll, images) {
  // Random stacks that share prefixes, and their trie.
  const roots = [];
  for (let image = 0; image < images; image += 1) {
    let row = roots;
    let chain = '';
    for (let n = 1 + roll(7); n > 0; n -= 1) {
      const diff = `d${roll(3)}`;
      chain += `/${diff}`;
      let joint = row.find((each) => each.chain_id === chain);
      if (!joint) {
        joint = {chain_id: chain, diff_id: diff, instruction: {kind: 'RUN', text: chain}, stored: roll(5) === 0 ? 0 : roll(9) * 10 ** roll(8), blob_size: 1, images: [], children: []};
        row.push(joint);
      }
      joint.images.push(image);
      row = joint.children;
    }
  }
  return roots;
}

const area = (shape) => (shape.x1 - shape.x0) * (shape.y1 - shape.y0);
const near = (a, b, what) => assert.ok(Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(a), Math.abs(b)), `${what}: ${a} and ${b}`);
const apart = (a, b) => a.x1 <= b.x0 + 1e-6 || b.x1 <= a.x0 + 1e-6 || a.y1 <= b.y0 + 1e-6 || b.y1 <= a.y0 + 1e-6;

for (const hidden of [false, true]) {
  test(`an icicle's and a sunburst's shapes are as wide as they are heavy, beside each other (hidden ${hidden})`, () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const root = spots(directory(dice(seed), 4, ''), hidden);
      for (const drawing of [icicle(root, 800, 20), sunburst(root, 500)]) {
        const whole = drawing.shapes[0].x1 - drawing.shapes[0].x0;
        for (const [n, shape] of drawing.shapes.entries()) {
          if (root.value) near((shape.x1 - shape.x0) / whole, shape.spot.value / root.value, `share of ${shape.spot.path}`);
          if (shape.up >= 0) {
            const up = drawing.shapes[shape.up];
            assert.ok(shape.x0 >= up.x0 - 1e-6 && shape.x1 <= up.x1 + 1e-6, 'a shape stands under its parent');
            near(shape.y0, up.y1, 'and touches it');
          }
          for (const other of drawing.shapes.slice(0, n)) assert.ok(apart(shape, other), 'no two overlap');
        }
      }
    }
  });
}

test("a treemap's boxes lie in their parents and do not overlap; areas of leaves in one box are as their bytes", () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const {shapes} = boxes(spots(directory(dice(seed), 3, ''), false), 900, 600);
    for (const [n, shape] of shapes.entries()) {
      if (shape.up >= 0) {
        const up = shapes[shape.up];
        assert.ok(shape.x0 >= up.x0 - 1e-6 && shape.x1 <= up.x1 + 1e-6 && shape.y0 >= up.y0 - 1e-6 && shape.y1 <= up.y1 + 1e-6);
      }
      for (const [m, other] of shapes.slice(0, n).entries()) {
        const above = (function up(of) { return of === m || (of >= 0 && up(shapes[of].up)); })(n);
        if (!above) assert.ok(apart(shape, other), `${shape.spot.path} and ${other.spot.path}`);
      }
      assert.ok(area(shape) >= 0);
    }
  }
});

test('what is smaller than a sliver is one shape, and no byte is lost by that', () => {
  const small = Array.from({length: 5000}, (_, n) => ({name: `${n}`, path: `/${n}`, size: 1, waste: 0, layer: 1, op: 'A', type: 'f', children: [], other: null}));
  const big = {...small[0], name: 'big', path: '/big', size: 5000};
  const root = spots({name: '', path: '/', size: 10000, waste: 0, layer: 1, op: '', type: 'd', children: [big, ...small], other: null}, false);
  assert.equal(root.children.length, 2);
  assert.equal(root.children[1].folded, 5000);
  assert.equal(root.children.reduce((sum, each) => sum + each.value, 0), 10000);
  assert.ok(root.children.every((each) => each.value >= root.value * SLIVER));
});

test('arrow keys reach every shape, and no level has more of them than can be seen', () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const root = spots(directory(dice(seed), 4, ''), false);
    if (!root.value) continue;
    for (const drawing of [icicle(root, 700, 30), sunburst(root, 400), boxes(root, 700, 500)]) {
      const reached = new Set([0]);
      for (const from of reached) for (const way of ['in', 'next', 'before', 'out']) reached.add(neighbour(drawing, from, way));
      assert.equal(reached.size, drawing.shapes.length);
    }
  }
  const many = (depth, size, path) => ({
    name: path, path, size, waste: 0, layer: 1, op: 'A', type: 'd', other: {n: 9, size: size / 50, waste: 0},
    children: depth ? Array.from({length: 40}, (_, n) => many(depth - 1, (size * 0.98) / 40, `${path}/${n}`)) : [],
  });
  const perLevel = new Map();
  for (const {depth} of icicle(spots(many(3, 1e6, ''), false), 900, 20).shapes) perLevel.set(depth, (perLevel.get(depth) ?? 0) + 1);
  for (const count of perLevel.values()) assert.ok(count <= 1 / SLIVER);
});

test('a box shared by k images is k columns wide and drawn once when what is shared stands together', () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const count = 1 + (seed % 13);
    const trie = stacks(dice(seed), count);
    for (const scale of ['bytes', 'log', 'even']) {
      const {columns, boxes: all, tops, height} = wall(trie, count, {scale});
      assert.deepEqual([...columns].sort((a, b) => a - b), Array.from({length: count}, (_, n) => n));
      for (const box of all) {
        assert.equal(box.parts, 1);
        assert.equal(box.span, box.joint.images.length);
        assert.deepEqual(columns.slice(box.first, box.first + box.span).sort((a, b) => a - b), box.joint.images);
        assert.ok(box.height >= LEAST && box.y + box.height <= height + 1e-6);
      }
      assert.equal(tops.length, count);
    }
  }
});

test('in any order boxes cover each column without a gap, from the ground up, and never overlap', () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const count = 1 + (seed % 9);
    const trie = stacks(dice(seed), count);
    for (const order of ['shared', 'given', 'size']) {
      const {columns, boxes: all, tops} = wall(trie, count, {order});
      columns.forEach((image, at) => {
        const own = all.filter((box) => box.first <= at && at < box.first + box.span).sort((a, b) => a.y - b.y);
        let ground = 0;
        for (const box of own) {
          near(box.y, ground, 'a box stands on the one below');
          assert.ok(box.joint.images.includes(image));
          ground += box.height;
        }
        near(ground, tops[at], 'the column is as high as its boxes');
      });
      const spans = new Map();
      for (const box of all) spans.set(box.joint, (spans.get(box.joint) ?? 0) + box.span);
      walk(trie, (joint) => assert.equal(spans.get(joint), joint.images.length));
    }
  }
});

test('the given order stays, and splits boxes if it must', () => {
  const leaf = (chain, images) => ({chain_id: chain, diff_id: chain, instruction: {kind: 'RUN', text: ''}, stored: 10, blob_size: 1, images, children: []});
  const trie = [leaf('a', [0, 2]), leaf('b', [1])];
  assert.deepEqual(wall(trie, 3, {order: 'given'}).boxes.map((box) => [box.first, box.span, box.parts]), [[0, 1, 2], [2, 1, 2], [1, 1, 1]]);
  assert.deepEqual(joined(trie, 3), [0, 2, 1]);
  assert.deepEqual(runs([0, 1, 2, 5, 7, 8]), [[0, 3], [5, 1], [7, 2]]);
});

test('too many images stand together by what they share: nobody is lost, bytes stay, walls can be drawn of it', () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const count = 3 + (seed % 20);
    const trie = stacks(dice(seed), count);
    const {trie: less, groups} = folded(trie, count);
    assert.deepEqual(groups.flat().sort((a, b) => a - b), [...Array(count).keys()]);
    const sum = (joints) => {
      let bytes = 0;
      walk(joints, (joint) => (bytes += joint.stored));
      return bytes;
    };
    assert.equal(sum(less), sum(trie));
    walk(less, (joint) => assert.equal(new Set(joint.images).size, joint.images.length));
    const drawn = wall(less, groups.length);
    assert.deepEqual([...drawn.columns].sort((a, b) => a - b), [...groups.keys()]);
    drawn.boxes.forEach((a, n) => drawn.boxes.slice(n + 1).forEach((b) => {
      const beside = a.first + a.span <= b.first || b.first + b.span <= a.first;
      assert.ok(beside || a.y + a.height <= b.y + 1e-6 || b.y + b.height <= a.y + 1e-6);
    }));
  }
});

test('layers in a pile are as high as they are heavy, but have room for their words', () => {
  assert.deepEqual(pile([100, 0, 300], 400, 30), [{height: 100, scaled: true}, {height: 30, scaled: false}, {height: 300, scaled: true}]);
  assert.deepEqual(pile([0, 0], 100), [{height: 30, scaled: false}, {height: 30, scaled: false}]);
});

test('two texts line by line: what went, what came, little around it; put together they are the texts', () => {
  const roll = dice(7);
  for (let n = 0; n < 60; n += 1) {
    const [a, b] = [0, 1].map(() => Array.from({length: roll(9)}, () => `line ${roll(4)}`).join('\n'));
    const found = lines(a, b);
    const of = (signs) => found.filter((each) => signs.includes(each.sign)).map((each) => each.text).join('\n');
    if (!found.some((each) => each.sign === '…')) assert.deepEqual([of(' -'), of(' +')], [a, b]);
  }
  const long = Array.from({length: 50}, (_, n) => `${n}`);
  const found = lines(long.join('\n'), long.with(25, 'x').join('\n'));
  assert.deepEqual(found.map((each) => each.sign).join(''), '…   -+   …');
});
