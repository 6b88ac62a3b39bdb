/** Images side by side, their layers to scale, what they share drawn once. */

import {html, nothing} from 'lit-html';
import {joint, wallOf} from '../parts/grid.js';
import {journal} from '../parts/journal.js';
import {choices} from '../parts/map.js';
import {walk} from '../layout/wall.js';
import {awaited} from '../parts/trouble.js';
import {counted, percent, shown, size} from '../words.js';
import {differences} from './diff.js';

/** @param {import('../app.js').App} app */
export function compare(app) {
  const refs = app.router.get('images').split(',').map((each) => each.trim()).filter(Boolean);
  const title = refs.length ? `${refs.map(shown).join(', ')} · veneer` : 'Compare · veneer';
  return {title, body: html`<div class="row head wrapping"><div><h1>Compare</h1><p class="dim">Layers that images have in the same place are one on the disk, and one box here.</p></div></div>
    ${picked(app, refs)}
    ${refs.length ? awaited(app.asked.latest('compare', `compare ${refs}`, () => app.source.compare(refs)), (found) => page(app, found)) : samples(app)}`};
}

/** @param {import('../app.js').App} app @param {string[]} refs */
function picked(app, refs) {
  const to = (/** @type {string[]} */ next) => app.router.set({images: [...new Set(next)].join(',')});
  const field = app.memory('compare-field', () => ({text: ''}));
  const offered = app.asked.latest('images', `images ${''}`, () => app.source.images(''));
  const names = (offered.value ?? []).flatMap((each) => (each.tags.length ? each.tags : [each.ref])).filter((name) => !refs.includes(name));
  const add = () => {
    const text = field.text.trim();
    if (!text) return;
    field.text = '';
    to([...refs, ...text.split(/[\s,]+/)]);
  };
  return html`<div class="picked row wrapping" role="group" aria-label="Images">
    ${refs.map((ref) => html`<span class="pick"><bdi>${shown(ref)}</bdi><button class="quiet" aria-label=${`Take ${shown(ref)} away`} @click=${() => to(refs.filter((each) => each !== ref))}>✕</button></span>`)}
    <form @submit=${(/** @type {Event} */ event) => { event.preventDefault(); add(); }}><label class="search small"><span class="sr">Add an image</span>
      <input type="search" list="names" placeholder="Add an image" .value=${field.text} @input=${(/** @type {any} */ event) => {
        field.text = event.target.value;
        if (names.includes(field.text)) add();
      }}></label><datalist id="names">${names.slice(0, 200).map((name) => html`<option value=${name}></option>`)}</datalist></form>
    ${refs.length > 1 ? html`<button class="quiet" @click=${() => to([])}>Clear</button>` : nothing}</div>`;
}

/** @param {import('../app.js').App} app */
function samples(app) {
  const found = app.asked.latest('images', `images ${''}`, () => app.source.images('')).value ?? [];
  const refs = found.slice(0, 6).map((each) => each.ref);
  return html`<div class="card empty"><p>Which images?</p>${refs.length ? html`<p><a class="button" href=${app.router.href('compare', '', {images: refs.join(',')})}>The ${counted(refs.length, 'newest', 'newest')} here</a></p>` : nothing}</div>`;
}

/** @param {import('../app.js').App} app @param {Comparison} found */
function page(app, found) {
  const {router} = app;
  const filter = router.get('filter').toLowerCase();
  const scale = router.choice('scale', ['bytes', 'log', 'even']);
  const order = router.choice('order', ['shared', 'given', 'size']);
  return html`
    ${found.errors.map((each) => html`<p class="trouble small" role="alert"><bdi>${shown(each.ref)}</bdi>: ${shown(each.error)}${each.hint ? html` <span class="dim">${shown(each.hint)}</span>` : nothing}</p>`)}
    <div class="row wrapping controls">
      ${choices(app, 'scale', ['bytes', 'log', 'even'], scale, 'Heights')}${choices(app, 'order', ['shared', 'given', 'size'], order, 'Order of the images')}
      ${found.images.length > 2 ? html`<label class="search small"><span class="sr">Filter images</span><input type="search" placeholder="Filter" .value=${router.get('filter')} @input=${(/** @type {any} */ event) => router.set({filter: event.target.value})}></label>` : nothing}
      <span class="grow"></span><span class="families" aria-label="Colours and letters">${[['R', 'RUN'], ['C', 'COPY, ADD'], ['V', 'settings'], ['E', 'CMD'], ['F', 'from, labels']].map(([letter, name]) => html`<span><span class=${`letter f-${letter}`}>${letter}</span> ${name}</span>`)}</span>
    </div>
    ${totals(found)}
    ${found.images.length ? html`<div class="comparison"><section class="card wallcard" aria-label="Layers side by side">${wallOf(app, found, {scale, order, filter})}</section>
      <aside class="card" aria-label="Journal">${journal(app, found, joint(app))}</aside></div>` : nothing}
    ${found.images.length > 1 ? pair(app, found) : nothing}`;
}

/** @param {Comparison} found */
function totals(found) {
  const told = [
    [size(found.unshared), 'if nothing were shared'], [size(found.unique), 'with sharing'],
    [`${size(found.saved)}`, `saved, ${percent(found.saved, found.unshared)}`], [size(pulled(found)), 'to pull'], [String(found.unique_layers), found.unique_layers === 1 ? 'layer' : 'layers'], [size(found.largest), 'the largest'],
  ];
  return html`<dl class="figures">${told.map(([value, name], n) => html`<div class=${n === 2 && found.saved ? 'gain' : ''}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** What comes over the wire for all of them: each layer once; null where it is not known of one. @param {Comparison} found */
function pulled(found) {
  /** @type {Map<string, number | null>} */
  const blobs = new Map();
  walk(found.trie, (joint) => blobs.set(joint.diff_id, joint.blob_size));
  const sizes = [...blobs.values()];
  return sizes.includes(null) ? null : sizes.reduce((sum, each) => /** @type {number} */ (sum) + /** @type {number} */ (each), 0);
}

/** Files of two of the images. @param {import('../app.js').App} app @param {Comparison} found */
function pair(app, found) {
  const {router} = app;
  const refs = found.images.map((image) => image.ref);
  const a = refs.includes(router.get('a')) ? router.get('a') : refs[0];
  const b = refs.includes(router.get('b')) ? router.get('b') : refs.find((ref) => ref !== a) ?? refs[0];
  const on = router.get('files') === 'yes';
  const pick = (/** @type {string} */ name, /** @type {string} */ value) => html`<label>${name === 'a' ? 'from' : 'to'} <select @change=${(/** @type {any} */ event) => router.set({[name]: event.target.value, files: 'yes'})}>
    ${refs.map((ref) => html`<option value=${ref} ?selected=${ref === value}>${shown(ref)}</option>`)}</select></label>`;
  return html`<div class="row wrapping pairs-head"><h2>Files of two of them</h2>${pick('a', a)}${pick('b', b)}
      ${on ? nothing : html`<button class="button plain" @click=${() => router.set({files: 'yes'})}>Compare files</button>`}</div>
    ${on && a !== b ? differences(app, a, b) : nothing}`;
}
