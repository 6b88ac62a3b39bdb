import assert from 'node:assert/strict';
import test from 'node:test';
import {snippet} from '../src/pages/badges.js';
import {address, parse} from '../src/router.js';
import {ago, family, letters, listed, percent, shown, size} from '../src/words.js';

const plain = (text) => text.replaceAll('\u202f', ' ');

test('sizes have three digits and units of 1000', () => {
  const told = [0, 1, 999, 1000, 1234, 9994, 9996, 61_000_000, 99_960, 187_200_000, 999_600_000, 1_120_000_000, -4100, null];
  assert.deepEqual(told.map((bytes) => plain(size(bytes))),
    ['0 B', '1 B', '999 B', '1 kB', '1.23 kB', '9.99 kB', '10 kB', '61 MB', '100 kB', '187 MB', '1 GB', '1.12 GB', '−4.1 kB', '–']);
  assert.equal(plain(percent(944, 1000)), '94.4 %');
  assert.equal(percent(1, 0), '–');
});

test('what cannot be seen in a name, or turns others, is written out', () => {
  assert.equal(shown('a\nb\x1b[31m\u202etxt\u200b<b>'), 'a\\nb\\x1b[31m\\u{202e}txt\\u{200b}<b>');
  assert.equal(shown('grüße 漢字 👍'), 'grüße 漢字 👍');
  assert.equal(shown('\ud800'), '\\u{d800}');
  assert.equal(shown(null), '');
});

test('addresses lead back to where they came from', () => {
  for (const ref of ['nginx:1.27', 'host:5000/a/b@sha256:00', 'odd?#%/name']) {
    const [path, search = ''] = address('image', ref, {path: '/usr/a&b=c?#', at: 3, gone: null}).split('?', 2);
    const route = parse(path, search);
    assert.equal(route.page, 'image');
    assert.equal(route.ref, ref);
    assert.deepEqual([...route.query], [['path', '/usr/a&b=c?#'], ['at', '3']]);
  }
  assert.equal(parse('/', '').page, 'images');
  assert.equal(parse('/compare', '?images=a,b').query.get('images'), 'a,b');
  assert.equal(parse('/nowhere', '').page, 'nowhere');
  assert.equal(parse('/i/%zz', '').ref, '%zz');
});

test('snippets lead to the page and cannot be broken out of', () => {
  const alt = 'size of x"]>`<b>';
  assert.equal(snippet('Markdown', '/p.svg', '/i/x', alt), '[![size of xb](/p.svg)](/i/x)');
  assert.equal(snippet('HTML', '/p.svg', '/i/x', alt), '<a href="/i/x"><img src="/p.svg" alt="size of xb"></a>');
  assert.match(snippet('AsciiDoc', '/p.svg', '/i/x', alt), /^image:\/p\.svg\["size of xb", link="\/i\/x"\]$/);
  assert.match(snippet('reST', '/p.svg', '/i/x', alt), /:target: \/i\/x\n/);
});

test('small words', () => {
  assert.equal(listed([1, 2, 3, 5, 7, 8]), '1–3,5,7,8');
  assert.equal(letters('0750'), 'rwxr-x---');
  assert.equal(family({keyword: 'copy', index: 2}), 'C');
  assert.equal(family({keyword: '', index: 1}), 'F');
  assert.equal(family({keyword: '', index: 2}), 'N');
  assert.equal(ago('2026-01-01T00:00:00Z', Date.parse('2026-01-03T00:00:00Z')), '2 days ago');
  assert.equal(ago(''), '–');
});
