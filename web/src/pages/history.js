/** What each layer did to one path: a line down the layers, what is stored of it, and texts side by side. */

import {html, nothing} from 'lit-html';
import {awaited} from '../parts/trouble.js';
import {lines} from '../layout/text.js';
import {counted, letters, short, shown, size, STATES, told} from '../words.js';

/** The history as a page of its own. @param {import('../app.js').App} app */
export function history(app) {
  const ref = app.router.get('image');
  const path = app.router.get('path') || '/';
  const answer = app.asked.get(`image ${ref} `, () => app.source.image(ref));
  return {
    title: `${shown(path)} · veneer`,
    body: html`<div class="hero"><p class="dim under"><a href=${app.router.href('image', ref)}><bdi>${shown(ref)}</bdi></a></p><h1 class="path"><bdi>${shown(path)}</bdi></h1></div>
      <section class="card" aria-labelledby="layers-title"><h2 id="layers-title">What the layers did to it</h2>${awaited(answer, (image) => timeline(app, image, path))}</section>`,
  };
}

/** The history beside the map. @param {import('../app.js').App} app @param {Image} image @param {string} path */
export function opened(app, image, path) {
  const state = app.memory('opened', () => ({path: ''}));
  if (state.path !== path) app.after.push(() => requestAnimationFrame(() => document.getElementById('history')?.scrollIntoView({block: 'nearest'})));
  state.path = path;
  return html`<section class="card" id="history" aria-labelledby="history-title">
    <div class="row"><h2 id="history-title" class="path">History of <bdi>${shown(path)}</bdi></h2><span class="grow"></span>
      <a href=${app.router.href('history', '', {image: image.ref, path})}>Open alone</a>
      <button class="quiet" @click=${() => app.router.set({file: null, old: null, new: null})} aria-label="Close the history">✕</button></div>
    ${timeline(app, image, path)}</section>`;
}

/** @param {import('../app.js').App} app @param {Image} image @param {string} path */
function timeline(app, image, path) {
  const answer = app.asked.get(`history ${image.ref} ${path}`, () => app.source.history(image.ref, path));
  return awaited(answer, (found) => {
    const most = Math.max(1, ...found.events.map((event) => event.size));
    const {stored, visible} = found.verdict;
    const saved = app.asked.get(`without ${image.ref} ${path}`, () => app.source.without(image.ref, path)).value?.saved;
    return html`<p class="verdict"><b>${size(stored)}</b> stored, <b>${size(visible)}</b> visible${stored > visible ? html`: <b class="bad">${size(stored - visible)}</b> wasted` : nothing}${saved ? html` <span class="dim">· the image would store ${size(saved)} less without it</span>` : nothing}</p>
      <ol class="timeline">${found.events.map((event) => moment(app, image, event, most))}</ol>
      ${texts(app, image, path, found.events)}`;
  });
}

/** @param {import('../app.js').App} app @param {Image} image @param {FileEvent} event @param {number} most */
function moment(app, image, event, most) {
  const file = event.op !== 'D' && event.type === 'file' ? app.source.file(image.ref, event.path, event.layer) : null;
  return html`<li>
    <span class=${`op ${event.op}`} aria-hidden="true">${event.op}</span>
    <div>
      <p><b>Layer ${event.layer}</b> ${STATES.get(event.op)}${event.fields_changed.length && event.op !== 'D' ? html` <span class="dim">(${event.fields_changed.map(shown).join(', ')})</span>` : nothing}
        ${event.cause && (event.cause !== 'deleted' || (event.by && event.by !== event.path)) ? html` <span class="dim">— ${shown(event.cause)}${event.by && event.by !== event.path ? html` with <bdi>${shown(event.by)}</bdi>` : nothing}</span>` : nothing}
</p>
      <code class="made">${told(event.instruction)}</code>
      ${event.op === 'D' ? nothing : html`<p class="dim small">${shown(event.type)} · <code title=${letters(event.mode)}>${event.mode}</code> · ${event.uid}:${event.gid}${event.mtime ? ` · ${event.mtime.slice(0, 19)}` : ''}
        ${event.link ? html` · → <bdi>${shown(event.link)}</bdi>` : nothing}${/^[0-9a-f]{12}/.test(short(event.sha256)) ? html` · <code>${short(event.sha256)}</code>` : nothing}
        ${file ? html` · <a href=${file} target="_blank" rel="noopener">View</a> · <a href=${`${file}&download=1`} download>Save</a>` : nothing}</p>
      ${links(event)}
      <span class="meter wide" .style=${`--share:${(100 * event.size) / most}%`}>${size(event.size)}</span>`}
    </div></li>`;
}

/** What is to be said of a file's other names. @param {FileEvent} event */
function links({names, broke, size: bytes}) {
  const few = (/** @type {string[]} */ paths) => paths.slice(0, 3).map((path, n) => html`${n ? ', ' : ''}<bdi>${shown(path)}</bdi>`);
  const more = (/** @type {string[]} */ paths) => (paths.length > 3 ? `, ${counted(paths.length - 3, 'more', 'more')}` : '');
  return html`${names.length ? html`<p class="small">A hard link: one file with ${few(names)}${more(names)}</p>` : nothing}
    ${broke.length ? html`<p class="small">Breaks the hard link with ${few(broke)}${more(broke)}, which keeps the old file: ${size(bytes)} more are stored</p>` : nothing}`;
}

/** Two states of a text file, line by line. @param {import('../app.js').App} app @param {Image} image @param {string} path @param {FileEvent[]} events */
function texts(app, image, path, events) {
  const states = events.filter((event) => event.op !== 'D' && event.type === 'file');
  if (app.source.embedded || states.length < 2) return nothing;
  const numbers = states.map((event) => event.layer);
  const from = app.router.number('old', 0, 0, 1e6);
  const to = app.router.number('new', 0, 0, 1e6);
  const pick = (/** @type {string} */ name, /** @type {number} */ value, /** @type {number[]} */ among) => html`<label>${name} <select @change=${(/** @type {any} */ event) =>
    app.router.set({old: name === 'from' ? event.target.value : from || numbers.at(-2), new: name === 'to' ? event.target.value : to || numbers.at(-1)})}>
    ${among.map((each) => html`<option value=${each} ?selected=${each === value}>layer ${each}</option>`)}</select></label>`;
  const shownFrom = numbers.includes(from) ? from : /** @type {number} */ (numbers.at(-2));
  const shownTo = numbers.includes(to) ? to : /** @type {number} */ (numbers.at(-1));
  return html`<div class="row wrapping differences"><h3>What changed in it</h3>${pick('from', shownFrom, numbers)}${pick('to', shownTo, numbers)}
      ${from ? nothing : html`<button class="button plain" @click=${() => app.router.set({old: shownFrom, new: shownTo})}>Show</button>`}</div>
    ${from ? text(app, image, path, shownFrom, shownTo) : nothing}`;
}

/** @param {import('../app.js').App} app @param {Image} image @param {string} path @param {number} from @param {number} to */
function text(app, image, path, from, to) {
  const read = (/** @type {number} */ at) => app.asked.get(`text ${image.ref} ${path} ${at}`, () => app.source.text(image.ref, path, at));
  return awaited(read(from), (before) => awaited(read(to), (after) => {
    const rows = lines(before, after);
    if (!rows.some((row) => row.sign !== ' ')) return html`<p class="dim">The same text.</p>`;
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Differing lines"><pre class="lines">${rows.map((row) => html`<span class=${row.sign === '+' ? 'plus' : row.sign === '-' ? 'minus' : row.sign === '…' ? 'gap' : ''}>${row.sign} ${shown(row.text)}
</span>`)}</pre></div>`;
  }));
}
