/** One directory of several images side by side: a row for each name, a cell for each image, what differs in colour. */

import {html, nothing} from 'lit-html';
import {choices, crumbs} from '../parts/map.js';
import {padlock} from '../parts/icons.js';
import {awaited} from '../parts/trouble.js';
import {called, counted, shown, size, STATES} from '../words.js';

/** @param {import('../app.js').App} app @param {string[]} refs of images that are here */
export function beside(app, refs) {
  const {router} = app;
  const path = router.get('path') || '/';
  const lock = router.get('lock');
  const mode = router.choice('mode', ['strict', 'semantic']);
  const show = router.choice('show', ['all', 'different']);
  const sort = router.choice('sort', ['name', 'size']);
  const q = router.get('q');
  const ask = {path, base: refs.includes(lock) ? lock : null, mode, show, sort, q};
  const name = `beside ${refs} ${JSON.stringify(ask)}`;
  const pages = app.memory(name, () => ({afters: ['']}));
  const parts = pages.afters.map((after) => app.asked.latest(`beside ${after}`, `${name} ${after}`, () => app.source.beside(refs, {...ask, after})));
  const next = parts[parts.length - 1].value?.next;
  return html`<section class="card" aria-labelledby="beside-title">
    <div class="row wrapping"><h2 id="beside-title">${parts[0].value ? counted(parts[0].value.total, show === 'all' ? 'name' : 'name that differs', show === 'all' ? 'names' : 'names that differ') : 'Names'}</h2>
      <label class="search small"><span class="sr">Names in this directory</span><input type="search" placeholder="Filter names" .value=${q} @input=${(/** @type {any} */ event) => router.set({q: event.target.value})}></label>
      <span class="grow"></span>
      ${choices(app, 'show', ['all', 'different'], show, 'Which names')}${choices(app, 'sort', ['name', 'size'], sort, 'Sort by', {word: 'sort'})}
      ${choices(app, 'mode', ['strict', 'semantic'], mode, 'How strictly')}</div>
    ${crumbs(app, path)}
    ${awaited(parts[0], (found) => (found.images.length ? table(app, found, parts.flatMap((part) => part.value?.rows ?? [])) : nothing))}
    ${next ? html`<button class="button plain" @click=${() => { pages.afters.push(/** @type {string} */ (next)); app.redraw(); }}>More</button>` : nothing}
    <p class="dim small">Letters tell what turns the one that is locked, or else the first, into this one; the number is how many paths in it differ. ${mode === 'strict' ? 'Times count.' : 'Times do not count.'}</p>
  </section>`;
}

/** @param {import('../app.js').App} app @param {Beside} found @param {Names[]} rows */
function table(app, found, rows) {
  const {router} = app;
  const refs = found.images.map((image) => image.ref);
  return html`<div class="scroll tall" tabindex="0" role="region" aria-label="Files side by side"><table class="beside">
    <thead><tr><th scope="col">Name</th>${refs.map((ref, n) => {
      const {name, platform} = called(ref);
      const base = n === found.base;
      return html`<th scope="col" class=${`n${base ? ' base' : ''}`}><a href=${router.href('image', ref)} title=${shown(ref)}><bdi>${shown(name)}</bdi></a>
        <button class="quiet" aria-pressed=${base ? 'true' : 'false'} aria-label=${`Hold the others against ${shown(ref)}`} title="Hold the others against this one" @click=${() => router.set({lock: router.get('lock') === ref ? null : ref})}>${padlock(base)}</button>
        ${platform ? html`<span class="dim">${shown(platform)}</span>` : nothing}</th>`;
    })}</tr></thead>
    <tbody><tr class="whole"><th scope="row">${found.path === '/' ? 'all of it' : shown(found.path.split('/').at(-1))}</th>${found.images.map(({ref, whole}, n) => cell(app, whole, found.images[found.base].whole, n === found.base, ref, found.path))}</tr>
    ${rows.map((row) => {
      const inner = row.cells.some((each) => each?.type === 'directory');
      return html`<tr class=${row.differs ? '' : 'same'}><th scope="row"><span class="name"><a href=${router.here({path: row.path, q: null})} @click=${(/** @type {MouseEvent} */ event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        router.set({path: row.path, q: null});
      }}><bdi>${shown(row.name) || '(no name)'}</bdi>${inner ? '/' : nothing}</a></span></th>${row.cells.map((each, n) => cell(app, each, row.cells[found.base], n === found.base, refs[n], row.path))}</tr>`;
    })}</tbody></table></div>`;
}

/** @param {import('../app.js').App} app @param {There | null} there @param {There | null} base what it is held against @param {boolean} own whether that is this one @param {string} ref @param {string} path */
function cell(app, there, base, own, ref, path) {
  if (!there) return html`<td class=${`n${base ? ' gone' : ''}`}>${base ? letter('D') : html`<span class="dim" aria-hidden="true">–</span><span class="sr">nothing</span>`}</td>`;
  const op = own || (there.op === 'U' && !there.differing && base) ? 'U' : there.op === 'U' && there.differing ? 'M' : base ? there.op : 'A';
  const inner = there.type === 'directory';
  const href = inner ? app.router.href('image', ref, {path: path === '/' ? null : path}) : app.router.href('history', '', {image: ref, path});
  const note = own || op === 'U' || op === 'A' ? '' : inner ? (there.differing ? counted(there.differing, 'path') : there.changed.map(shown).join(', ')) : there.changed.map(shown).join(', ');
  return html`<td class=${`n ${own ? 'base' : op === 'U' && there.differing !== null ? '' : `tinted ${op}`}`}>${op === 'U' ? nothing : letter(op)}
    <a href=${href} aria-label=${`${shown(path)} in ${shown(ref)}, ${size(there.size)}`}>${there.type === 'symlink' ? '→' : size(there.size)}</a>${there.differing === null ? html` <span class="dim small">?</span>` : nothing}${note ? html`<span class="dim small note">${note}</span>` : nothing}</td>`;
}

/** @param {string} op */
function letter(op) {
  return html`<span class=${`op ${op}`} title=${STATES.get(op) ?? ''}>${op}</span><span class="sr"> ${op === 'D' ? 'not there' : STATES.get(op)} </span>`;
}
