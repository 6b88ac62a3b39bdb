// One call of esbuild: src/ becomes app.js and app.css, and SOURCES says of what they were made.
import {createHash} from 'node:crypto';
import {copyFileSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {dirname, join, relative} from 'node:path';
import {fileURLToPath} from 'node:url';
import {build} from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, '../src/veneer/view/web/static');

/** What the bundle depends on, sorted by path. */
function sources() {
  const src = readdirSync(join(here, 'src'), {recursive: true, withFileTypes: true})
    .filter((each) => each.isFile())
    .map((each) => relative(here, join(each.parentPath, each.name)));
  return [...src, 'build.mjs', 'package.json', 'package-lock.json'].sort();
}

/** Under what conditions the packages in the bundle are given, in their own words. */
function licences() {
  const {dependencies} = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
  const texts = Object.entries(dependencies).map(([name, version]) =>
    `${name} ${version}\n\n${readFileSync(join(here, 'node_modules', name, 'LICENSE'), 'utf8').trim()}`);
  return `/*! This script contains:\n\n${texts.join('\n\n\n')}\n*/`;
}

await build({
  entryPoints: {app: join(here, 'src/main.js')},
  bundle: true,
  minify: true,
  format: 'iife',
  target: ['es2022'],
  charset: 'utf8', // as the pages are that it stands in
  legalComments: 'none', // the whole texts instead, as their conditions ask for
  footer: {js: licences()},
  outdir: out,
});

copyFileSync(join(here, 'src/icon.svg'), join(out, 'icon.svg'));

const lines = sources().map((path) => {
  const digest = createHash('sha256').update(readFileSync(join(here, path))).digest('hex');
  return `${digest}  ${path}\n`;
});
writeFileSync(join(out, 'SOURCES'), lines.join(''));
