/** The slider with two ends: `since` and `at`.  Layers, map and table all follow it. */

import {html, nothing} from 'lit-html';
import {counted, size, told} from '../words.js';

/** Layers since + 1 to at are looked at; since = 0 is the whole image so far.
 * @typedef {{since: number, at: number}} Span */

const STEP = 1100; // milliseconds that a layer is shown while playing

/** @param {import('../app.js').App} app @param {Image} image @returns {Span} */
export function span(app, image) {
  const most = image.layers.length;
  const at = app.router.number('at', most, 1, most);
  return {at, since: app.router.number('since', 0, 0, at - 1)};
}

/** @param {import('../app.js').App} app @param {Image} image @param {Span} to */
export function choose(app, image, {since, at}) {
  app.router.set({since: since || null, at: at === image.layers.length ? null : at, path: app.router.get('path')});
}

/** @param {Image} image @param {number} number from 1, or 0 for below everything */
function described(image, number) {
  const layer = image.layers[number - 1];
  return layer ? `layer ${number} of ${image.layers.length}, ${told(layer.instruction)}, ${size(layer.stored)}` : 'nothing, below all layers';
}

/** @param {import('../app.js').App} app @param {Image} image @param {Span} range */
export function slider(app, image, range) {
  const most = image.layers.length;
  const {since, at} = range;
  const state = app.memory('play', () => ({timer: 0, width: 1}));
  const move = (/** @type {number} */ from, /** @type {number} */ to) => {
    const next = Math.min(most, Math.max(1, to));
    choose(app, image, {at: next, since: Math.max(0, Math.min(from, next - 1))});
  };
  const width = at - since;
  const step = (/** @type {number} */ by) => move(since === 0 ? 0 : since + by, at + by);
  const play = () => {
    if (state.timer) return stop();
    state.width = since === 0 ? 0 : width;
    if (at === most) move(0, 1);
    state.timer = window.setInterval(() => {
      const here = span(app, image);
      if (app.router.route.page !== 'image' || here.at >= most) return stop();
      choose(app, image, {at: here.at + 1, since: state.width ? here.at + 1 - state.width : 0});
      return undefined;
    }, STEP);
    return app.redraw();
  };
  const stop = () => {
    clearInterval(state.timer);
    state.timer = 0;
    app.redraw();
  };
  app.keys.set('[', () => move(since - 1, at)).set(']', () => move(Math.min(since + 1, at - 1), at)).set('p', play)
    .set('a', () => move(since === 0 && most > 1 ? at - 1 : 0, at));
  const share = (/** @type {number} */ number) => `${(100 * number) / most}%`;
  return html`<section class="slider card" aria-label="Which layers">
    <button class="round" @click=${play} aria-label=${state.timer ? 'Stop' : 'Play: peel from the base up'} aria-pressed=${state.timer ? 'true' : 'false'}>${state.timer ? '❚❚' : '▶'}</button>
    <div class="track" @pointerdown=${(/** @type {PointerEvent} */ event) => drag(app, image, event)}>
      <div class="groove"></div>
      ${image.base?.layers ? html`<div class="basemark" .style=${`width:${share(Math.min(most, image.base.layers))}`} title="the base's layers"></div>` : nothing}
      <div class="chosen" .style=${`left:${share(since)};width:${share(width)}`}></div>
      ${image.layers.map((_, n) => html`<span class=${`tick c${n % 8}`} .style=${`left:${share(n + 1)}`} aria-hidden="true">${(n + 1) % Math.ceil(most / 20) ? '' : n + 1}</span>`)}
      ${thumb('since', 'Since', [since, 0, at - 1], share(since), since === 0 ? 'from the base on' : `without the lowest ${since}: ${described(image, since)}`, (to) => move(to, at))}
      ${thumb('at', 'At', [at, 1, most], share(at), described(image, at), (to) => (since === 0 ? move(0, to) : move(Math.min(since, to - 1), to)))}
    </div>
    <fieldset class="segments"><legend class="sr">Range</legend>
      ${segment('all', 'all so far', since === 0, () => move(0, at))}
      ${segment('this', 'this layer', most > 1 && since === at - 1 && since > 0, () => move(at - 1, at), most < 2 || at < 2)}
      ${segment('range', 'a range', since > 0 && since < at - 1, () => move(Math.max(1, at - 2), at), most < 3 || at < 3)}
    </fieldset>
    <p class="seen" aria-hidden="true">${since === 0 ? (at === most ? counted(most, 'layer') : `layers 1–${at} of ${most}`)
      : width === 1 ? `layer ${at} of ${most}` : `layers ${since + 1}–${at} of ${most}`}
      <span class="steps"><button class="quiet" tabindex="-1" @click=${() => step(-1)} ?disabled=${at <= 1}>‹</button><button class="quiet" tabindex="-1" @click=${() => step(1)} ?disabled=${at >= most}>›</button></span></p>
  </section>`;
}

/** @param {string} name @param {string} label @param {boolean} on @param {() => void} act @param {boolean} [disabled] */
function segment(name, label, on, act, disabled = false) {
  return html`<label><input type="radio" name="range" value=${name} .checked=${on} ?disabled=${disabled} @change=${act}><span>${label}</span></label>`;
}

/** @param {string} name @param {string} label @param {[number, number, number]} stops where it is and may be @param {string} left @param {string} text @param {(to: number) => void} move */
function thumb(name, label, [value, least, most], left, text, move) {
  return html`<div class=${`thumb ${name}`} data-end=${name} role="slider" tabindex="0" aria-label=${label} aria-valuemin=${least} aria-valuemax=${most}
    aria-valuenow=${value} aria-valuetext=${text} title=${text} .style=${`left:${left}`}
    @keydown=${(/** @type {KeyboardEvent} */ event) => {
      const by = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5}[event.key];
      const to = event.key === 'Home' ? least : event.key === 'End' ? most : by === undefined ? null : value + by;
      if (to === null) return;
      event.preventDefault();
      move(Math.min(most, Math.max(least, to)));
    }}></div>`;
}

/** The nearer end follows the pointer. @param {import('../app.js').App} app @param {Image} image @param {PointerEvent} event */
function drag(app, image, event) {
  const track = /** @type {HTMLElement} */ (event.currentTarget);
  const box = track.getBoundingClientRect();
  const most = image.layers.length;
  const stop = (/** @type {PointerEvent} */ from) => Math.round(((from.clientX - box.left) / box.width) * most);
  const grabbed = event.target instanceof HTMLElement ? event.target.dataset.end : undefined;
  const {since, at} = span(app, image);
  const first = stop(event);
  const end = grabbed ?? (since > 0 && Math.abs(first - since) < Math.abs(first - at) ? 'since' : 'at');
  const to = (/** @type {PointerEvent} */ from) => {
    const here = span(app, image);
    const value = stop(from);
    if (end === 'since') choose(app, image, {at: here.at, since: Math.max(0, Math.min(value, here.at - 1))});
    else {
      const next = Math.max(1, Math.min(most, value));
      choose(app, image, {at: next, since: Math.min(here.since, next - 1)});
    }
  };
  event.preventDefault();
  track.setPointerCapture(event.pointerId);
  /** @type {HTMLElement | null} */ (track.querySelector(`[data-end=${end}]`))?.focus();
  to(event);
  const moved = (/** @type {PointerEvent} */ from) => to(from);
  const done = () => {
    track.removeEventListener('pointermove', moved);
    track.removeEventListener('pointerup', done);
    track.removeEventListener('pointercancel', done);
  };
  track.addEventListener('pointermove', moved);
  track.addEventListener('pointerup', done);
  track.addEventListener('pointercancel', done);
}
