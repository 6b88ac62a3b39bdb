/** The wall of layers: boxes one can point at, walk through by arrow keys, and lock the journal with. */

import {html, nothing} from 'lit-html';
import {repeat} from 'lit-html/directives/repeat.js';
import {folded, wall} from '../layout/wall.js';
import {padlock} from './icons.js';
import {ago, called, counted, family, letterOf, pull, shown, size, told} from '../words.js';

const WIDEST = 420;
const NARROWEST = 148;
const GAP = 8;
const MOST = 40; // columns; of more images those that share their lower layers stand together in one

/** @typedef {{joint: Joint | null, image: number | null, focus: string, grab: boolean, room: number}} State */

/** What is pointed at. @param {import('../app.js').App} app */
export function joint(app) {
  return app.memory('wall', () => /** @type {State} */ ({joint: null, image: null, focus: '', grab: false, room: 0}));
}

/** Only the images whose number is kept, renumbered. @param {Joint[]} trie @param {Map<number, number>} numbers @returns {Joint[]} */
function kept(trie, numbers) {
  return trie.map((each) => ({...each, images: each.images.flatMap((image) => numbers.get(image) ?? []), children: kept(each.children, numbers)}))
    .filter((each) => each.images.length);
}

/** Layers as heavy as what they have at a path. @param {Joint[]} trie @returns {Joint[]} */
function inside(trie) {
  return trie.map((each) => ({...each, stored: each.inside ?? 0, children: inside(each.children)}));
}

/** @param {import('../app.js').App} app @param {Comparison} found @param {{scale: string, order: string, filter: string, path: string}} options */
export function wallOf(app, found, {scale, order, filter, path}) {
  const state = joint(app);
  const images = found.images.map((image, number) => ({image, number})).filter(({image}) => image.ref.toLowerCase().includes(filter));
  const numbers = new Map(images.map(({number}, at) => [number, at]));
  const weighed = path ? inside(found.trie) : found.trie;
  const whole = filter ? kept(weighed, numbers) : weighed;
  const {trie, groups} = images.length > MOST ? folded(whole, images.length) : {trie: whole, groups: images.map((_, at) => [at])};
  const drawn = wall(trie, groups.length, {scale: /** @type {any} */ (scale), order: /** @type {any} */ (order)});
  const width = Math.max(NARROWEST, Math.min(WIDEST, Math.floor((state.room + GAP) / Math.max(1, groups.length)) - GAP));
  const left = (/** @type {number} */ column) => column * (width + GAP);
  const lock = app.router.get('lock');
  const locked = groups.findIndex((group) => group.some((at) => images[at].image.ref === lock));
  const id = (/** @type {import('../layout/wall.js').Box} */ box) => `${box.joint.chain_id} ${box.part}`;
  if (!drawn.boxes.some((box) => id(box) === state.focus)) state.focus = drawn.boxes.length ? id(drawn.boxes[0]) : '';
  const at = drawn.boxes.findIndex((box) => id(box) === state.focus);
  const pointed = state.joint;
  const point = (/** @type {Joint | null} */ to, /** @type {number | null} */ image) => {
    if (state.joint === to && state.image === image) return;
    state.joint = to;
    state.image = image;
    app.redraw();
  };
  const first = (/** @type {Joint} */ of) => images[groups[of.images[0]][0]];
  const open = (/** @type {Joint} */ of) => app.router.go(app.router.href('image', first(of).image.ref, {at: of.index, since: of.index > 1 ? of.index - 1 : null}));
  const lockOn = (/** @type {string} */ ref) => app.router.set({lock: lock === ref ? null : ref});
  app.after.push(() => {
    const room = (document.getElementById('wallscroll')?.clientWidth ?? 0) - 4;
    if (room > 0 && room !== state.room) {
      state.room = room;
      app.redraw();
    }
    if (state.grab) /** @type {HTMLElement | null} */ (document.querySelector('.wall [tabindex="0"]'))?.focus();
    state.grab = false;
  });
  const key = (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const box = drawn.boxes[at];
    if (!box) return;
    const to = {ArrowUp: () => above(drawn.boxes, at, 1), ArrowDown: () => above(drawn.boxes, at, -1), ArrowRight: () => beside(drawn.boxes, at, 1), ArrowLeft: () => beside(drawn.boxes, at, -1)}[event.key];
    if (to) {
      const next = drawn.boxes[to()];
      state.focus = id(next);
      state.grab = true;
      point(next.joint, null);
      app.redraw();
    } else if (event.key === 'l') lockOn(first(box.joint).image.ref);
    else if (event.key === 'Enter') open(box.joint);
    else return;
    event.preventDefault();
  };
  const differ = new Set(found.images.map((image) => image.platform)).size > 1;
  return html`<div class="scroll" id="wallscroll" tabindex="-1"><div class="wall" .style=${`width:${left(drawn.columns.length) - GAP}px`}>
    <div class="heads" .style=${`--width:${width}px;--gap:${GAP}px`}>${drawn.columns.map((column) => {
      const [at, ...more] = groups[column];
      if (more.length) return many(app, groups[column].map((each) => images[each].image));
      return head(app, images[at].image, differ, locked === column, () => lockOn(images[at].image.ref), () => point(null, images[at].number));
    })}</div>
    <div class="boxes" role="group" aria-label="Layers, the base at the bottom" .style=${`height:${drawn.height}px`} @keydown=${key} @pointerleave=${() => point(null, null)}>
    ${repeat(drawn.boxes, id, (box) => {
      const {joint: of} = box;
      const inLock = locked >= 0 && of.images.includes(locked);
      const twin = pointed && of.diff_id && pointed.chain_id !== of.chain_id && pointed.diff_id === of.diff_id;
      const kind = family(of);
      const users = of.count ?? of.images.reduce((sum, column) => sum + groups[column].length, 0);
      const others = users > 1 ? `, in ${counted(users, 'image')}` : `, in ${shown(first(of).image.ref)}`;
      const without = path && of.inside === null;
      return html`<button class=${`box f-${kind}${without ? ' out' : ''}${inLock ? ' locked' : ''}${twin ? ' twin' : ''}${pointed?.chain_id === of.chain_id ? ' pointed' : ''}${box.scaled ? '' : ' least'}${box.height < 46 ? ' low' : ''}`}
        tabindex=${id(box) === state.focus ? 0 : -1} data-span=${box.span}
        aria-label=${`Layer ${of.index}, ${told(of.instruction)}, ${without ? `nothing at ${shown(path)}` : size(of.stored)}${others}${of.also.length ? ', the same content elsewhere' : ''}`} title=${shown(of.instruction)}
        .style=${`--lines:${Math.max(1, Math.floor((box.height - 14) / 19))};left:${left(box.first)}px;width:${box.span * width + (box.span - 1) * GAP}px;bottom:${box.y}px;height:${box.height - 2}px`}
        @pointerenter=${() => point(of, null)} @focus=${() => { state.focus = id(box); point(of, null); }} @click=${() => lockOn(first(of).image.ref)} @dblclick=${() => open(of)}>
        <span class="letter" aria-hidden="true">${letterOf(of)}</span><code>${told(of.instruction)}</code>
        ${of.also.length ? html`<span class="also" title="the same content in another stack">◇</span>` : nothing}<span class="amount">${without ? '–' : size(of.stored)}</span></button>`;
    })}</div></div></div>
    <p class="dim small">${scale === 'bytes' ? html`Heights are bytes${path ? html` at <code>${shown(path)}</code>` : nothing}; boxes with a notch are too small to be drawn to scale.` : scale === 'log' ? 'Heights are logarithms of bytes.' : 'All boxes are as high.'} ◇ has the same content as a layer in another stack. A click locks the journal, Enter or a double click opens the image at that layer.</p>`;
}

/** @param {import('../app.js').App} app @param {Column} image @param {boolean} differ whether the images' platforms do @param {boolean} locked @param {() => void} lock @param {() => void} point */
function head(app, image, differ, locked, lock, point) {
  const {router} = app;
  const wasted = image.visible === null ? 0 : image.stored - image.visible;
  const away = () => router.set({images: router.get('images').split(',').map((each) => each.trim()).filter((each) => each !== image.ref).join(',')});
  return html`<div class=${`head${locked ? ' locked' : ''}`} @pointerenter=${point}>
    <a class="name" href=${router.href('image', image.ref)} title=${shown(image.ref)}><bdi>${shown(called(image.ref).name)}</bdi></a>
    <span class="small sums">${size(image.stored)} · ${counted(image.layers.length, 'layer')}</span>
    <span class="dim small" title=${`made ${ago(image.created)}`}>pull ${pull(image)}</span>
    <span class="doing"><button class="quiet" @click=${lock} aria-pressed=${locked ? 'true' : 'false'} aria-label=${`Lock the journal on ${shown(image.ref)}`} title="Lock the journal on this image (l)">${padlock(locked)}</button><button
      class="quiet" @click=${away} aria-label=${`Take the column of ${shown(image.ref)} away`} title="Take this image away">✕</button></span>
    ${differ ? html`<span class="dim small sums">${shown(image.platform)}</span>` : nothing}
    ${wasted > 0 ? html`<span class="small bad sums">${size(wasted)} wasted</span>` : nothing}</div>`;
}

/** The head of a column that stands for several images. @param {import('../app.js').App} app @param {Column[]} images */
function many(app, images) {
  return html`<div class="head"><a class="name" href=${app.router.href('compare', '', {images: images.map((image) => image.ref).join(',')})} title=${images.map((image) => shown(image.ref)).join(', ')}>${counted(images.length, 'image')}</a>
    <span class="dim small">${images.slice(0, 3).map((image) => shown(image.ref)).join(', ')} …</span></div>`;
}

/** The box on a box, or beneath it. @param {import('../layout/wall.js').Box[]} boxes @param {number} from @param {1 | -1} way */
function above(boxes, from, way) {
  const here = boxes[from];
  const edge = way > 0 ? here.y + here.height : here.y;
  const found = boxes.findIndex((box) => Math.abs((way > 0 ? box.y : box.y + box.height) - edge) < 0.01 && box.first < here.first + here.span && here.first < box.first + box.span);
  return found < 0 ? from : found;
}

/** The box to the right or left, at this height if there is one. @param {import('../layout/wall.js').Box[]} boxes @param {number} from @param {1 | -1} way */
function beside(boxes, from, way) {
  const here = boxes[from];
  const column = way > 0 ? here.first + here.span : here.first - 1;
  const middle = here.y + here.height / 2;
  let best = from;
  let least = Infinity;
  boxes.forEach((box, n) => {
    if (box.first > column || column >= box.first + box.span) return;
    const far = middle < box.y ? box.y - middle : middle > box.y + box.height ? middle - box.y - box.height : 0;
    if (far < least) [best, least] = [n, far];
  });
  return best;
}
