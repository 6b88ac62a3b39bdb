/** Two texts line by line: what went and what came. Pure. */

const MOST = 4000; // lines of a text; the table of them takes as much as both multiplied
const AROUND = 3;

/** @typedef {{sign: ' ' | '+' | '-' | '…', text: string}} Line */

/** @param {string} before @param {string} after @returns {Line[]} with unchanged stretches cut down */
export function lines(before, after) {
  const [a, b] = [before.split('\n').slice(0, MOST), after.split('\n').slice(0, MOST)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const middle = between(a.slice(start, a.length - end), b.slice(start, b.length - end));
  const all = [...a.slice(0, start).map(same), ...middle, ...a.slice(a.length - end).map(same)];
  return folded(all);
}

/** @param {string} text @returns {Line} */
function same(text) {
  return {sign: ' ', text};
}

/** The longest common lines stay. @param {string[]} a @param {string[]} b @returns {Line[]} */
function between(a, b) {
  if (a.length * b.length > 4e6) return [...a.map(gone), ...b.map(come)];
  const width = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = a[i] === b[j] ? longest[(i + 1) * width + j + 1] + 1
        : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  /** @type {Line[]} */
  const found = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      found.push(same(a[i]));
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      found.push(gone(a[i]));
      i += 1;
    } else {
      found.push(come(b[j]));
      j += 1;
    }
  }
  return found;
}

/** @param {string} text @returns {Line} */
function gone(text) {
  return {sign: '-', text};
}

/** @param {string} text @returns {Line} */
function come(text) {
  return {sign: '+', text};
}

/** @param {Line[]} all */
function folded(all) {
  const near = all.map(() => false);
  all.forEach((line, n) => {
    if (line.sign !== ' ') near.fill(true, Math.max(0, n - AROUND), n + AROUND + 1);
  });
  /** @type {Line[]} */
  const found = [];
  all.forEach((line, n) => {
    if (near[n]) found.push(line);
    else if (found.at(-1)?.sign !== '…') found.push({sign: '…', text: ''});
  });
  return found;
}
