/** Two images: files, settings and histories that differ. */

import {html, nothing} from 'lit-html';
import {choices} from '../parts/map.js';
import {awaited, trouble} from '../parts/trouble.js';
import {counted, shown, size, STATES} from '../words.js';

/** @param {import('../app.js').App} app */
export function diff(app) {
  const {router} = app;
  const [a, b] = [router.get('a'), router.get('b')];
  const body = html`<div class="hero"><h1>Differences</h1><p class="dim under">from <bdi>${named(app, a)}</bdi> to <bdi>${named(app, b)}</bdi></p></div>
    ${a && b ? differences(app, a, b) : trouble(new Error('Two images are wanted: ?a=… and b=….'), '', router.href('images'))}`;
  return {title: `${shown(a)} and ${shown(b)} · veneer`, body};
}

/** @param {import('../app.js').App} app @param {string} ref */
function named(app, ref) {
  return html`<a href=${app.router.href('image', ref)}><bdi>${shown(ref)}</bdi></a>`;
}

/** What two images differ in. @param {import('../app.js').App} app @param {string} a @param {string} b */
export function differences(app, a, b) {
  const mode = app.router.choice('mode', ['strict', 'semantic']);
  const pages = app.memory(`diff ${a} ${b} ${mode}`, () => ({afters: ['']}));
  const parts = pages.afters.map((after) => app.asked.get(`diff ${a} ${b} ${mode} ${after}`, () => app.source.diff(a, b, mode, after)));
  const last = parts[parts.length - 1].value;
  return html`<section class="card" aria-labelledby="differing-title">
    <div class="row wrapping"><h2 id="differing-title">${parts[0].value ? counted(parts[0].value.total, 'file differs', 'files differ') : 'Files'}</h2><span class="grow"></span>
      ${choices(app, 'mode', ['strict', 'semantic'], mode, 'How strictly')}</div>
    ${awaited(parts[0], (first) => html`
      ${first.files.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Differing files"><table>
        <thead><tr><th scope="col">State</th><th scope="col">Path</th><th scope="col" class="n">Before</th><th scope="col" class="n">After</th><th scope="col">Changed</th></tr></thead>
        <tbody>${parts.flatMap((part) => part.value?.files ?? []).map((each) => row(app, each, each.after ? b : a))}</tbody></table></div>` : html`<p class="empty dim">No file differs.</p>`}
      ${last?.next ? html`<button class="button plain" @click=${() => { pages.afters.push(/** @type {string} */ (last.next)); app.redraw(); }}>More</button>` : nothing}
      ${pairs('Settings', first.settings.map((each) => [each.key, each.before, each.after]))}
      ${pairs('History', first.history.map((each) => [String(each.number), each.before, each.after]))}`)}
  </section>`;
}

/** @param {import('../app.js').App} app @param {Differing} each @param {string} ref the image whose history tells of it */
function row(app, each, ref) {
  const {op} = each;
  return html`<tr><td><span class=${`op ${op}`} title=${STATES.get(op) ?? ''}>${op}</span><span class="sr"> ${STATES.get(op)}</span></td>
    <th scope="row" class="wrapany"><a href=${app.router.href('history', '', {image: ref, path: each.path})}><bdi>${shown(each.path)}</bdi></a>${each.entries > 0 ? html` <span class="dim small">with ${counted(each.entries, 'entry', 'entries')} in it</span>` : nothing}</th>
    <td class="n">${each.before ? size(each.size_before) : ''}</td><td class="n">${each.after ? size(each.size_after) : ''}</td><td class="dim">${each.changed.map(shown).join(', ')}</td></tr>`;
}

/** @param {string} title @param {[string, string | null, string | null][]} rows */
function pairs(title, rows) {
  if (!rows.length) return nothing;
  return html`<h3>${title}</h3><div class="scroll" tabindex="0" role="region" aria-label=${title}><table><thead><tr><th scope="col">${title === 'History' ? 'Row' : 'Key'}</th><th scope="col">Before</th><th scope="col">After</th></tr></thead>
    <tbody>${rows.map(([key, before, after]) => html`<tr><th scope="row" class="wrapany">${shown(key)}</th><td class="wrapany"><code>${shown(before)}</code></td><td class="wrapany"><code>${shown(after)}</code></td></tr>`)}</tbody></table></div>`;
}
