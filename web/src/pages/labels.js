/** What an image says of itself: where it comes from, all labels with their origin, and which are missing. */

import {html, nothing} from 'lit-html';
import {awaited} from '../parts/trouble.js';
import {day, pull, short, shown} from '../words.js';

/** @type {Record<string, string>} */
const SAME = {manifest: 'the same image', layers: 'the same layers, another config'};

/** @param {import('../app.js').App} app @param {Image} image */
export function labels(app, image) {
  const answer = app.asked.get(`labels ${image.ref}`, () => app.source.labels(image.ref));
  return awaited(answer, (found) => html`<div class="halves">
    <section class="card" aria-labelledby="identity-title"><h2 id="identity-title">Identity</h2>${identity(image)}</section>
    <section class="card" aria-labelledby="provenance-title"><h2 id="provenance-title">Where it comes from</h2>${provenance(app, image, found)}</section>
    </div>
    <section class="card" aria-labelledby="labels-title"><h2 id="labels-title">Labels and annotations</h2>
      ${found.labels.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Labels"><table><thead><tr><th scope="col">Key</th><th scope="col">Value</th><th scope="col">From</th></tr></thead>
        <tbody>${found.labels.map((label) => html`<tr><th scope="row" class="wrapany"><code><bdi>${shown(label.key)}</bdi></code></th><td class="wrapany"><bdi>${shown(label.value)}</bdi></td><td class="dim">${shown(label.source)}</td></tr>`)}</tbody></table></div>`
        : html`<p class="empty dim">It has none.</p>`}
      ${found.missing.length ? html`<h3>Recommended, and not given</h3><p>${found.missing.map((key) => html`<code class="chip">${shown(key)}</code> `)}</p>` : html`<p class="dim">All recommended ones are given.</p>`}
    </section>
    ${found.identical.length ? html`<section class="card" aria-labelledby="identical-title"><h2 id="identical-title">Images of the same layers</h2>
      <ul>${found.identical.map((each) => html`<li><a href=${app.router.href('image', each.ref)}><bdi>${shown(each.ref)}</bdi></a> <code class="dim">${short(each.id)}</code> <span class="dim small">${shown(SAME[each.how] ?? each.how)}</span></li>`)}</ul></section>` : nothing}`);
}

/** @param {Image} image */
function identity(image) {
  const {config} = image;
  const words = (/** @type {unknown} */ value) => (Array.isArray(value) ? value.map(String).join(' ') : String(value ?? ''));
  /** @type {[string, unknown][]} */
  const rows = [
    ['image ID', html`<code class="wrapany">${shown(image.id)}</code>`],
    ['digest', image.digest ? html`<code class="wrapany">${shown(image.digest)}</code>` : ''],
    ['platform', shown(image.platform)], ['made', image.created ? `${day(image.created)} ${image.created.slice(11, 19)}` : ''],
    ['author', shown(image.author)], ['entrypoint', shown(words(config.Entrypoint))], ['command', shown(words(config.Cmd))],
    ['user', shown(words(config.User)) || 'root'], ['working directory', shown(words(config.WorkingDir))],
    ['ports', shown(Object.keys(/** @type {object} */ (config.ExposedPorts ?? {})).join(' '))], ['to pull', pull(image)],
  ];
  return pairs(rows);
}

/** @param {[string, unknown][]} rows those without a value are left out */
function pairs(rows) {
  return html`<dl class="pairs">${rows.filter(([, value]) => value !== '' && value !== null).map(([name, value]) => html`<dt>${name}</dt><dd class="wrapany">${value}</dd>`)}</dl>`;
}

/** An address that leads elsewhere. @param {string} address @param {string} [text] */
export function out(address, text) {
  if (!/^https?:\/\//.test(address)) return shown(text ?? address);
  return html`<a href=${address} rel="noopener noreferrer nofollow" target="_blank"><bdi>${shown(text ?? address)}</bdi></a>`;
}

/** @param {import('../app.js').App} app @param {Image} image @param {Labels} found */
function provenance(app, image, {links}) {
  /** @type {[string, unknown][]} */
  const rows = [
    ['title', shown(links.title)], ['description', shown(links.description)], ['version', shown(links.version)],
    ['source', links.source ? out(links.source) : ''],
    ['commit', links.commit ? (links.commit_url ? out(links.commit_url, links.commit.slice(0, 12)) : html`<code>${shown(links.commit)}</code>`) : ''],
    ['licence', links.licences.length ? links.licences.map((each) => html`${out(each.url, each.id)} `) : ''],
    ['vendor', shown(links.vendor)], ['website', links.url ? out(links.url) : ''], ['documentation', links.documentation ? out(links.documentation) : ''],
    ['base', image.base ? html`${image.base.here ? html`<a href=${app.router.href('image', image.base.here)}><bdi>${shown(image.base.ref)}</bdi></a>` : shown(image.base.ref)}
      <span class="dim">(known by ${shown(image.base.how)})</span>` : ''],
  ];
  return rows.some(([, value]) => value !== '') ? pairs(rows) : html`<p class="empty dim">No label tells.</p>`;
}
