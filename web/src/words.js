/** Words for people: sizes, ages, and other people's names made harmless. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** What is to pull of an image or a layer, marked where that is but the most it can be.
 * @param {{blob_size: number | null, blob_size_at_most: boolean}} of */
export function pull(of) {
  return (of.blob_size_at_most ? '≤' : '') + size(of.blob_size);
}

/** Bytes as docker writes them, three digits, units of 1000; a narrow space keeps number and unit together.
 * @param {number | null | undefined} bytes */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return '–';
  const sign = bytes < 0 ? '−' : '';
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  const text = value.toFixed(digits);
  return `${sign}${digits ? text.replace(/\.?0+$/, '') : text}\u202f${UNITS[unit]}`;
}

/** @param {number} part @param {number} whole */
export function percent(part, whole) {
  if (!whole) return '–';
  const value = (100 * part) / whole;
  return `${value >= 99.95 || value === 0 ? value.toFixed(0) : value.toFixed(1)}\u202f%`;
}

/** @param {number} count @param {string} one @param {string} [many] */
export function counted(count, one, many) {
  return `${count.toLocaleString('en').replaceAll(',', '\u202f')} ${count === 1 ? one : (many ?? `${one}s`)}`;
}

// Control characters, marks that turn or join text, invisible ones: what can make a name look like another.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u2028\u2029\u115f\u1160\u3164\uffa0]/gu;
const SHORT = new Map([['\n', '\\n'], ['\r', '\\r'], ['\t', '\\t']]);

/** A name from anywhere, for a page: nothing in it is invisible or moves other text.
 * @param {string | null | undefined} text */
export function shown(text) {
  return (text ?? '').replace(UNSEEN, (found) => {
    const code = /** @type {number} */ (found.codePointAt(0));
    const short = SHORT.get(found);
    if (short) return short;
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}

/** An instruction in one line. @param {string} instruction */
export function told(instruction) {
  return shown(instruction.replace(/\s+/g, ' ').trim()) || '(nothing is said of it)';
}

const FAMILIES = new Map(
  Object.entries({
    R: ['RUN'],
    C: ['ADD', 'COPY'],
    V: ['VOLUME', 'ENV', 'USER', 'WORKDIR', 'ARG', 'SHELL'],
    E: ['ENTRYPOINT', 'CMD', 'HEALTHCHECK', 'STOPSIGNAL'],
    F: ['FROM', 'MAINTAINER', 'EXPOSE', 'ONBUILD', 'LABEL'],
  }).flatMap(([family, kinds]) => kinds.map((kind) => [kind, family])),
);

/** The five families of instructions by letter; a bottom layer that says nothing is where the image comes FROM, and
 * N is what is none of them. @param {{keyword: string, index: number}} layer */
export function family({keyword, index}) {
  return FAMILIES.get(keyword.toUpperCase()) ?? (index === 1 ? 'F' : 'N');
}

/** The letter in a box. @param {{keyword: string, index: number}} layer */
export function letterOf(layer) {
  const letter = family(layer);
  return letter === 'N' ? '·' : letter;
}

/** What to call an image in little room: of an ID its first digits, and the platform apart.
 * @param {string} ref @returns {{name: string, platform: string}} */
export function called(ref) {
  const [, name, platform] = /^(.*)@([^@:]*\/[^@:]*)$/s.exec(ref) ?? [ref, ref, ''];
  return {name: /^(sha256:)?[0-9a-f]{64}$/.test(name) ? short(name) : name, platform};
}

/** Twelve digits of a digest. @param {string | null | undefined} digest */
export function short(digest) {
  return (digest ?? '').replace(/^sha256:/, '').slice(0, 12);
}

/** @param {string | null | undefined} stamp a time as images have it */
export function day(stamp) {
  return stamp ? stamp.slice(0, 10) : '–';
}

const AGES = [[365 * 86400, 'year'], [30 * 86400, 'month'], [7 * 86400, 'week'], [86400, 'day'], [3600, 'hour'],
  [60, 'minute']];

/** How long ago. @param {string | null | undefined} stamp @param {number} [now] milliseconds */
export function ago(stamp, now = Date.now()) {
  const made = stamp ? Date.parse(stamp) : NaN;
  if (Number.isNaN(made) || made < Date.UTC(1990, 0)) return '–';
  const seconds = (now - made) / 1000;
  for (const [length, unit] of /** @type {[number, string][]} */ (AGES)) {
    if (seconds >= length) return `${counted(Math.floor(seconds / length), unit)} ago`;
  }
  return 'just now';
}

const LETTERS = ['r', 'w', 'x'];

/** `rwxr-xr-x` for `0755`. @param {string} mode */
export function letters(mode) {
  const bits = parseInt(mode, 8) || 0;
  return [6, 3, 0].map((shift) => LETTERS.map((letter, n) => ((bits >> shift) & (4 >> n) ? letter : '-')).join('')).join('');
}

/** Layers as people list them: `1-3,5`. @param {number[]} layers ascending */
export function listed(layers) {
  /** @type {[number, number][]} */
  const spans = [];
  for (const layer of layers) {
    const last = spans.at(-1);
    if (last && last[1] + 1 === layer) last[1] = layer;
    else spans.push([layer, layer]);
  }
  return spans.map(([first, last]) => (first === last ? `${first}` : `${first}${last === first + 1 ? ',' : '–'}${last}`)).join(',');
}

/** What the letters of a state mean. */
export const STATES = new Map([
  ['A', 'added'], ['M', 'modified'], ['P', 'same bytes again'], ['D', 'deleted'], ['O', 'replaced'], ['U', 'unchanged'],
]);
