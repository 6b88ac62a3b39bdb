/** The shapes of the JSON under /api/v1; docs/web-api.md says what they mean.  Layers are counted from 1. */

type Op = 'A' | 'M' | 'P' | 'D' | 'O' | 'U';

interface Step { keyword: string; text: string; shown: string; raw: string; created: string; args: Record<string, string>; comment: string }

interface Laid {
  index: number;
  chain_id: string;
  diff_id: string;
  stored: number;
  blob_size: number | null;
  blob_size_at_most: boolean;
  instruction: string;
  keyword: string;
}

interface Layer extends Laid {
  blob_digest: string;
  media_type: string;
  net: number;
  cumulative: number;
  n: Record<'A' | 'M' | 'P' | 'D' | 'O', number>;
  waste_made: number;
  waste_held: number;
  created: string;
  created_by: string;
  instr: Step | null;
  empty_before: Step[];
  same_chain: { base: string; others: number };
  same_diff: string[];
}

interface Base { ref: string; digest: string; layers: number; how: string; here: string | null }

interface Image {
  ref: string;
  id: string;
  digest: string;
  platform: string;
  platforms: string[];
  platforms_here: string[];
  created: string;
  author: string;
  tags: string[];
  where: string;
  stored: number;
  visible: number;
  wasted: number;
  efficiency: number;
  blob_size: number | null;
  blob_size_at_most: boolean;
  layers: Layer[];
  after: Step[];
  unplaced: Step[];
  doubts: string[];
  base: Base | null;
  config: Record<string, unknown>;
}

interface Listed {
  ref: string;
  id: string;
  tags: string[];
  platform: string;
  created: string;
  stored: number;
  visible: number | null;
  blob_size: number | null;
  blob_size_at_most: boolean;
  layers: number;
}

interface Container { ref: string; id: string; name: string; image: string; created: string }

interface Entry {
  name: string;
  path: string;
  type: string;
  op: Op;
  there: boolean;
  size: number;
  waste: number;
  layers: number[];
  mode: string;
  uid: number;
  gid: number;
  mtime: string;
  link: string;
  changed: string[];
  children: number;
}

interface Level { path: string; at: number; since: number; total: number; entries: Entry[]; next: string | null }

interface Rolled {
  name: string;
  path: string;
  type: string;
  op: Op;
  size: number;
  waste: number;
  entries: number;
  layer: number;
  layers: number[];
  children?: Rolled[];
  other?: { n: number; size: number; waste: number };
}

interface FileEvent {
  path: string;
  layer: number;
  op: Op;
  type: string;
  size: number;
  mode: string;
  uid: number;
  gid: number;
  mtime: string;
  link: string;
  sha256: string;
  fields_changed: string[];
  cause: string;
  by: string;
  instruction: string;
  names: string[];
  broke: string[];
}

interface PathHistory { path: string; events: FileEvent[]; verdict: { stored: number; visible: number } }

interface WasteRow {
  key: string | number;
  bytes: number;
  files: number;
  held_in: number[];
  made_by: number[];
  causes: string[];
  remedy: string;
}

interface Wasted { by: string; total: number; stored: number; rows: WasteRow[]; next: string | null }

interface Findings { total: number; rows: { path: string; concern: string; layer: number; bytes: number; detail: string }[]; next: string | null }

interface Labels {
  labels: { key: string; value: string; source: string }[];
  missing: string[];
  links: {
    title: string; description: string; version: string; vendor: string; url: string; documentation: string;
    source: string; commit: string; commit_url: string; licences: { id: string; url: string }[];
  };
  identical: { ref: string; id: string; how: string }[];
}

interface TagGroup {
  repository: string; id: string; digest: string; tags: string[]; created: string; platform: string; stored: number;
  blob_size: number | null; blob_size_at_most: boolean; layers: number; current: boolean;
}

interface Dockerfile {
  text: string; base: string; found: string; notes: string[];
  lines: { keyword: string; text: string; comment: string[]; row: number | null; layer: number | null }[];
}

/** `count`: it stands for the layers that so many images have alone; `inside`: the bytes it has at a path that was asked
 * for, null where it has nothing to do with it. */
interface Joint extends Laid { images: number[]; also: number[]; children: Joint[]; count?: number; inside?: number | null }

interface Column {
  ref: string; id: string; digest: string; platform: string; layers: Laid[]; created: string; tags: string[];
  stored: number; visible: number | null; blob_size: number | null; blob_size_at_most: boolean;
}

interface There {
  type: string; size: number; mode: string; uid: number; gid: number; mtime: string; link: string; op: Op;
  changed: string[]; differing: number | null; children: number; layers: number[];
}

interface Names { name: string; path: string; differs: boolean; cells: (There | null)[] }

interface Beside {
  path: string; base: number; images: { ref: string; whole: There | null }[]; total: number; rows: Names[]; next: string | null;
  errors: { ref: string; error: string; hint: string }[];
}

interface Comparison {
  images: Column[];
  trie: Joint[];
  unshared: number;
  unique: number;
  saved: number;
  unique_layers: number;
  largest: number;
  average: number;
  errors: { ref: string; error: string; hint: string }[];
}

interface Differing {
  path: string; op: Op; changed: string[]; size_before: number; size_after: number; entries: number;
  before: { type: string; mode: string; link: string } | null;
  after: { type: string; mode: string; link: string } | null;
}

interface Difference {
  a: string;
  b: string;
  mode: string;
  total: number;
  files: Differing[];
  next: string | null;
  settings: { key: string; before: string | null; after: string | null }[];
  history: { number: number; before: string | null; after: string | null }[];
}

interface Places {
  diff_id: string; stored: number; entries: number;
  blobs: { digest: string; size: number; media_type: string }[];
  images: { ref: string; id: string; layer: number; chain_id: string }[];
}

interface Found {
  q: string; images: Listed[]; truncated: boolean;
  layers: { diff_id: string; chain_id: string; stored: number; images: string[] }[];
  files: { ref: string; path: string; size: number; there: boolean; layers: number[] }[];
}

interface Query { [name: string]: string | number | null | undefined }

interface DataSource {
  readonly embedded: boolean;
  /** The images that a report is about. */
  readonly order: string[];
  /** Bytes: files that store less are only there as sums. */
  least(ref: string): number;
  images(q?: string): Promise<Listed[]>;
  containers(): Promise<Container[]>;
  search(q: string, image?: string): Promise<Found>;
  image(ref: string, platform?: string): Promise<Image>;
  tree(ref: string, query: Query): Promise<Level>;
  rollup(ref: string, query: Query): Promise<Rolled>;
  history(ref: string, path: string): Promise<PathHistory>;
  waste(ref: string, by: string, after?: string): Promise<Wasted>;
  findings(ref: string, after?: string): Promise<Findings>;
  labels(ref: string): Promise<Labels>;
  tags(ref: string): Promise<{ groups: TagGroup[] }>;
  dockerfile(ref: string): Promise<Dockerfile>;
  whatif(ref: string, squash: string): Promise<{ saved: number; stored: number; stored_now: number }>;
  without(ref: string, path: string): Promise<{ saved: number; stored: number; stored_now: number }>;
  having(ref: string, other: string): Promise<{ pull: number | null; pull_now: number | null }>;
  compare(refs: string[], path?: string): Promise<Comparison>;
  beside(refs: string[], query: Query): Promise<Beside>;
  diff(a: string, b: string, mode: string, after?: string): Promise<Difference>;
  layerImages(diffId: string): Promise<Places>;
  kinds(): Promise<{ kinds: string[]; styles: string[] }>;
  text(ref: string, path: string, at: number): Promise<string>;
  file(ref: string, path: string, at: number): string | null;
  badge(kind: string, ref: string, form: 'svg' | 'json', style?: string): string;
  watch(changed: () => void): void;
}

declare module '*.css';
