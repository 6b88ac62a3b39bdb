/** Which class of the style sheet colours what. */

/** Layers' colours repeat after so many; neighbours are far apart for every kind of sight. */
export const HUES = 8;

/** @param {number} layer from 1; 0 for several */
export function ofLayer(layer) {
  return layer ? `c${(layer - 1) % HUES}` : 'c-none';
}

/** @type {[string, string, RegExp][]} name, class, what of a path tells it */
const KINDS = [
  ['programs', 'k0', /\/s?bin\/[^/]+$/],
  ['libraries', 'k1', /\.(so(\.[\d.]+)?|a|dll|jar|ko)$/],
  ['source', 'k2', /\.(py|pyc|js|mjs|ts|rb|pl|pm|sh|lua|c|h|go|rs|java|php)$/],
  ['documents, languages', 'k3', /(\/(doc|man|locale|i18n|info)\/|\.(md|txt|html?|gz|mo|pdf|css|rst)$)/],
  ['data', 'k4', /\.(json|xml|ya?ml|db|sqlite3?|dat|csv|bin|pem|crt|conf|list|status)$/],
  ['archives', 'k5', /\.(zip|tar|tgz|xz|bz2|zst|deb|rpm|apk|whl)$/],
];

/** @param {{path: string, type: string}} spot */
export function ofKind(spot) {
  if (spot.type === 'directory' || spot.type === 'other') return 'k-none';
  return KINDS.find(([, , pattern]) => pattern.test(spot.path))?.[1] ?? 'k6';
}

/** What kinds of files the legend names. */
export const LEGEND = [...KINDS.map(([name, kind]) => [kind, name]), ['k6', 'anything else'], ['k-none', 'directories']];
