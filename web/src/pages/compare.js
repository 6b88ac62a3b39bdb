/** Images side by side, their layers to scale, what they share drawn once. */

import {html, nothing} from 'lit-html';
import {joint, wallOf} from '../parts/grid.js';
import {journal} from '../parts/journal.js';
import {choices} from '../parts/map.js';
import {walk} from '../layout/wall.js';
import {awaited} from '../parts/trouble.js';
import {called, counted, percent, pull, shown, size} from '../words.js';
import {beside} from './beside.js';
import {differences} from './diff.js';

/** @param {import('../app.js').App} app */
export function compare(app) {
  const refs = app.router.get('images').split(',').map((each) => each.trim()).filter(Boolean);
  const path = app.router.get('path');
  const title = refs.length ? `${refs.map((ref) => shown(called(ref).name)).join(', ')} · veneer` : 'Compare · veneer';
  return {title, body: html`<div class="row head wrapping"><div><h1>Compare</h1><p class="dim">Layers that images have in the same place are one on the disk, and one box here.</p></div></div>
    ${picked(app, refs)}
    ${refs.length ? awaited(app.asked.latest('compare', `compare ${refs} ${path}`, () => app.source.compare(refs, path)), (found) => page(app, found)) : samples(app)}`};
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
    ${refs.map((ref) => html`<span class="pick"><bdi title=${shown(ref)}>${shown(called(ref).name)}</bdi>${called(ref).platform ? html`<span class="dim small"> ${shown(called(ref).platform)}</span>` : nothing}<button class="quiet" aria-label=${`Take ${shown(ref)} away`} @click=${() => to(refs.filter((each) => each !== ref))}>✕</button></span>`)}
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
  const path = router.get('path');
  const without = path && !any(found.trie);
  return html`
    ${found.errors.map((each) => html`<p class="trouble small" role="alert"><bdi>${shown(each.ref)}</bdi>: ${shown(each.error)}${each.hint ? html` <span class="dim">${shown(each.hint)}</span>` : nothing}</p>`)}
    <div class="row wrapping controls">
      ${choices(app, 'scale', ['bytes', 'log', 'even'], scale, 'Heights', {word: 'heights'})}${choices(app, 'order', ['shared', 'given', 'size'], order, 'Order of the images', {word: 'order'})}
      ${found.images.length > 2 ? html`<label class="search small"><span class="sr">Filter images</span><input type="search" placeholder="Filter images" .value=${router.get('filter')} @input=${(/** @type {any} */ event) => router.set({filter: event.target.value})}></label>` : nothing}
      <label class="search small"><span class="sr">Only what layers have at a path</span><input type="search" placeholder="Only what is at /path" .value=${path} @change=${(/** @type {any} */ event) => router.set({path: event.target.value.trim()})}></label>
      <span class="grow"></span><span class="families" aria-label="Colours and letters">${[['R', 'RUN'], ['C', 'COPY, ADD'], ['V', 'settings'], ['E', 'CMD'], ['F', 'from, labels']].map(([letter, name]) => html`<span><span class=${`letter f-${letter}`}>${letter}</span> ${name}</span>`)}</span>
    </div>
    ${totals(found)}
    ${without ? html`<p class="trouble small" role="alert">No layer of these images has anything at <bdi>${shown(path)}</bdi>.</p>` : nothing}
    ${found.images.length ? html`<div class="comparison"><section class="card wallcard" aria-label="Layers side by side">${wallOf(app, found, {scale, order, filter, path})}</section>
      <aside class="card" aria-label="Journal">${journal(app, found, joint(app))}</aside></div>` : nothing}
    ${found.images.length > 1 ? compared(app, found) : nothing}`;
}

/** Whether a layer has anything at the path that was asked for. @param {Joint[]} trie */
function any(trie) {
  let some = false;
  walk(trie, (joint) => (some ||= joint.inside !== null));
  return some;
}

/** @param {Comparison} found */
function totals(found) {
  const told = [
    [size(found.unshared), 'if nothing were shared'], [size(found.unique), 'with sharing'],
    [`${size(found.saved)}`, `saved, ${percent(found.saved, found.unshared)}`], [pulled(found), 'to pull'], [String(found.unique_layers), found.unique_layers === 1 ? 'layer' : 'layers'], [size(found.largest), 'the largest'],
  ];
  return html`<dl class="figures">${told.map(([value, name], n) => html`<div class=${n === 2 && found.saved ? 'gain' : ''}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** What comes over the wire for all of them, each layer once. @param {Comparison} found */
function pulled(found) {
  /** @type {Map<string, Joint>} */
  const blobs = new Map();
  walk(found.trie, (joint) => blobs.set(joint.diff_id, joint));
  const all = [...blobs.values()];
  const known = all.every((joint) => joint.blob_size !== null);
  return pull({
    blob_size: known ? all.reduce((sum, joint) => sum + (joint.blob_size ?? 0), 0) : null, blob_size_at_most: known && all.some((joint) => joint.blob_size_at_most),
  });
}

/** Their files: of all of them side by side, or of two. @param {import('../app.js').App} app @param {Comparison} found */
function compared(app, found) {
  const {router} = app;
  const offered = app.source.embedded ? ['', 'yes'] : ['', 'all', 'yes'];
  const words = app.source.embedded ? ['none', 'of two of them'] : ['none', 'side by side', 'of two of them'];
  const which = router.choice('files', offered);
  return html`<div class="row wrapping pairs-head"><h2>Files</h2>${choices(app, 'files', offered, which, 'Files', {labels: words})}${which === 'yes' ? pair(app, found) : nothing}</div>
    ${which === 'all' ? beside(app, found.images.map((image) => image.ref)) : which === 'yes' ? between(app, found) : nothing}`;
}

/** Which two of the images. @param {import('../app.js').App} app @param {Comparison} found @returns {[string, string]} */
function chosen({router}, found) {
  const refs = found.images.map((image) => image.ref);
  const a = refs.includes(router.get('a')) ? router.get('a') : refs[0];
  const b = refs.includes(router.get('b')) ? router.get('b') : refs.find((ref) => ref !== a) ?? refs[0];
  return [a, b];
}

/** @param {import('../app.js').App} app @param {Comparison} found */
function between(app, found) {
  const [a, b] = chosen(app, found);
  return a === b ? html`<p class="dim">Twice the same image: choose another one.</p>` : differences(app, a, b);
}

/** @param {import('../app.js').App} app @param {Comparison} found */
function pair(app, found) {
  const {router} = app;
  const refs = found.images.map((image) => image.ref);
  const [a, b] = chosen(app, found);
  const pick = (/** @type {string} */ name, /** @type {string} */ value) => html`<label>${name === 'a' ? 'from' : 'to'} <select @change=${(/** @type {any} */ event) => router.set({[name]: event.target.value})}>
    ${refs.map((ref) => html`<option value=${ref} ?selected=${ref === value}>${shown(ref)}</option>`)}</select></label>`;
  return html`${pick('a', a)}${pick('b', b)}`;
}
