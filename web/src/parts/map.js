/** The map of the bytes: icicle, treemap or sunburst of a directory, coloured by layer, state or kind. */

import {html, nothing} from 'lit-html';
import {LEGEND, ofKind, ofLayer} from '../colours.js';
import {boxes, icicle, neighbour, SLIVER, spots, sunburst} from '../layout/map.js';
import {counted, shown, size, STATES, told} from '../words.js';
import {draw} from './shapes.js';
import {awaited} from './trouble.js';

const KINDS = /** @type {const} */ (['icicle', 'treemap', 'sunburst']);
const COLOURS = ['layer', 'state', 'type'];
const ROW = 46;
const MOST_TOLD = 16; // layers of a legend
const MOST_CRUMBS = 20; // directories of a path
const LEVELS = {icicle: 6, treemap: 4, sunburst: 6};

/** @typedef {import('../layout/map.js').Spot} Spot */

/** @param {import('../app.js').App} app @param {Image} image @param {import('./slider.js').Span} range */
export function map(app, image, range) {
  const {router, source} = app;
  const kind = /** @type {typeof KINDS[number]} */ (router.choice('map', [...KINDS]));
  const colour = router.choice('colour', COLOURS);
  const hidden = router.get('hidden') !== 'no';
  const path = router.get('path') || '/';
  const state = remembered(app);
  const total = image.layers[range.at - 1].cumulative || 1;
  const query = {at: range.at, since: range.since, path, depth: LEVELS[kind], min: path === '/' ? Math.floor(total * SLIVER) : null};
  const answer = app.asked.latest(`map ${image.ref}`, `map ${image.ref} ${JSON.stringify(query)}`, () => source.rollup(image.ref, query));
  const turn = () => router.set({map: KINDS[(KINDS.indexOf(kind) + 1) % KINDS.length]});
  app.keys.set('m', turn);
  app.after.push(() => measure(app, state));
  return html`<div class="row wrapping">
      <h2 id="map-title">Where the bytes are</h2><span class="grow"></span>
      ${choices(app, 'map', [...KINDS], kind, 'Form')}
      ${choices(app, 'colour', COLOURS, colour, 'Colour by', {word: 'colour'})}
      <label class="check"><input type="checkbox" .checked=${hidden} @change=${() => router.set({hidden: hidden ? 'no' : null})}> with what is hidden</label>
    </div>
    ${crumbs(app, path)}
    <div class="mapbox" id="mapbox">${awaited(answer, (rolled) => {
      const root = spots(rolled, hidden);
      if (!root.value) return html`<p class="empty dim">No bytes here${range.at < image.layers.length ? ` after layer ${range.at}` : ''}.</p>`;
      if (!state.width) return nothing;
      const drawing = kind === 'icicle' ? icicle(root, state.width, ROW) : kind === 'treemap' ? boxes(root, state.width, Math.min(460, state.width * 0.62))
        : sunburst(root, Math.min(state.width, 620));
      const classed = (/** @type {Spot} */ spot) => (spot.type === 'other' ? 'c-none' : colour === 'layer' ? ofLayer(spot.layer) : colour === 'state' ? `s-${spot.op}` : ofKind(spot));
      return draw(drawing, {
        classed, label, hidden, byLayer: colour === 'layer', faint: (spot) => range.since > 0 && spot.op === 'U', current: Math.min(state.current, drawing.shapes.length - 1),
        focus: (n) => {
          state.current = n;
          state.told = drawing.shapes[n]?.spot ?? null;
          app.redraw();
        },
        move: (n, way) => neighbour(drawing, n, way),
        enter: (spot) => enter(app, spot, path),
        up: () => up(app, path),
      });
    })}</div>
    <p class="told dim" id="map-told">${state.told ? label(state.told) : html`Click or Enter zooms in, Backspace out; the table below has the same.`}</p>
    ${legend(image, range, colour, hidden)}`;
}

/** @param {import('../app.js').App} app */
function remembered(app) {
  return app.memory('map', () => ({width: 0, current: 0, told: /** @type {Spot | null} */ (null)}));
}

/** @param {Spot} spot */
function label(spot) {
  const what = spot.type === 'other' ? `${counted(spot.folded, 'smaller one')} in ${shown(spot.path || '/')}` : shown(spot.path || '/');
  const state = spot.op === 'U' ? '' : `, ${STATES.get(spot.op)}`;
  const layer = spot.layer ? `, from layer ${spot.layer}` : '';
  return `${what}, ${size(spot.size)}${spot.waste ? ` and ${size(spot.waste)} hidden` : ''}${layer}${state}`;
}

/** @param {import('../app.js').App} app @param {{width: number}} state */
function measure(app, state) {
  const width = Math.floor(document.getElementById('mapbox')?.clientWidth ?? 0);
  if (width && width !== state.width) {
    state.width = width;
    app.redraw();
  }
}

/** @param {import('../app.js').App} app @param {Spot} spot @param {string} path */
function enter(app, spot, path) {
  const state = remembered(app);
  if (spot.type === 'other') return;
  if (spot.children.length && spot.path !== path) {
    state.current = 0;
    app.router.set({path: spot.path, file: null});
  } else if (!spot.children.length) {
    app.router.set({file: spot.path});
  }
}

/** @param {import('../app.js').App} app @param {string} path */
function up(app, path) {
  const above = path.replace(/\/[^/]*\/?$/, '');
  app.router.set({path: above && above !== '/' ? above : null});
}

/** @param {import('../app.js').App} app @param {string} path */
export function crumbs(app, path) {
  const parts = path.split('/').filter(Boolean);
  const left = parts.length - MOST_CRUMBS;
  return html`<nav class="crumbs" aria-label="Directory"><ol>
    <li><a href=${app.router.here({path: null})} @click=${staying(app, null)} aria-current=${parts.length ? nothing : 'location'}>/</a></li>
    ${parts.map((part, n) => {
      if (n > 1 && n <= left) return n === left ? html`<li class="dim">${counted(left - 1, 'more directory', 'more directories')}</li>` : nothing;
      const to = `/${parts.slice(0, n + 1).join('/')}`;
      return html`<li><a href=${app.router.here({path: to})} @click=${staying(app, to)} aria-current=${n === parts.length - 1 ? 'location' : nothing}><bdi>${shown(part)}</bdi></a></li>`;
    })}</ol></nav>`;
}

/** @param {import('../app.js').App} app @param {string | null} path */
function staying(app, path) {
  return (/** @type {MouseEvent} */ event) => {
    event.preventDefault();
    app.router.set({path});
  };
}

/** A choice of few, kept in the address. @param {import('../app.js').App} app @param {string} name @param {string[]} values @param {string} value @param {string} legend
 * @param {{word?: string, labels?: string[]}} [options] a word to be seen before it, and what to call the values */
export function choices(app, name, values, value, legend, {word = '', labels = values} = {}) {
  return html`<fieldset class="segments"><legend class="sr">${legend}</legend>${word ? html`<span class="word" aria-hidden="true">${word}</span>` : nothing}${values.map((each, n) => html`<label><input type="radio" name=${name} value=${each}
    .checked=${each === value} @change=${() => app.router.set({[name]: n ? each : null})}><span>${labels[n]}</span></label>`)}</fieldset>`;
}

/** @param {Image} image @param {import('./slider.js').Span} range @param {string} colour @param {boolean} hidden */
function legend(image, range, colour, hidden) {
  const filled = image.layers.slice(0, range.at).filter((layer) => layer.stored);
  const left = colour === 'layer' ? filled.length - MOST_TOLD : 0;
  const rows = colour === 'layer'
    ? filled.slice(0, MOST_TOLD).map((layer) => [ofLayer(layer.index), `${layer.index} ${told(layer.instruction)}`])
    : colour === 'state' ? [...STATES].map(([op, name]) => [`s-${op}`, op === 'U' ? name : `${op} ${name}`]) : LEGEND;
  return html`<ul class="legend" aria-label="Colours">${rows.map(([kind, name]) => html`<li><span class=${`swatch ${kind}`} aria-hidden="true"></span> ${name}</li>`)}${left > 0 ? html`<li>and ${counted(left, 'more layer')}</li>` : nothing}
    ${hidden ? html`<li><span class="swatch hatched" aria-hidden="true"></span> stored, hidden by a later layer</li>` : nothing}</ul>`;
}
