import { type Cell, ONE_FILE, type SupportLevel } from './support-cells.ts';
import { DOCKER } from './support-docker.ts';
import { PROCESS } from './support-process.ts';

/** The runtimes that stacks can be deployed to. */
export type RuntimeName = 'PROCESS' | 'DOCKER';
export const SUPPORTED_RUNTIMES: readonly RuntimeName[] = ['PROCESS', 'DOCKER'];

export type Support = {
  level: SupportLevel;
  /** What happens, as a sentence; empty for "yes". */
  note: string;
  /** Values that ask for nothing beyond what happens anyway. */
  neutral?: readonly string[];
};

export type SupportRow = {
  /** Keys from the top: "services.*.ports[].target". */
  key: string;
  support: Record<RuntimeName, Support>;
  /** No runtime can honour it: said whatever the runtime. */
  always?: true;
};

/** Refused or remarked whatever the runtime. */
const EVERYWHERE: Record<string, Cell> = {
  version: ['info', 'The key is obsolete and has no meaning. Remove it.'],
  include: ['error', ONE_FILE],
  'services.*.label_file': ['warning', ONE_FILE],
};

function supportOf([level, note = '', neutral]: Cell): Support {
  return neutral ? { level, note, neutral } : { level, note };
}

/** What a runtime says of the key, or of the nearest one that holds it. */
function cellOf(cells: Record<string, Cell>, key: string): Cell {
  for (let known = key; known !== ''; known = known.replace(/(?:^|\.)[^.]*$/, '')) {
    const cell = cells[known] ?? cells[known.replace(/\[\]$/, '')];
    if (cell) return cell;
  }
  throw new Error(`No runtime's table may lack "${key}".`);
}

function joined(): SupportRow[] {
  const keys = new Set([...Object.keys(PROCESS), ...Object.keys(DOCKER)]);
  return [...keys].map((key) => ({
    key,
    support: { PROCESS: supportOf(cellOf(PROCESS, key)), DOCKER: supportOf(cellOf(DOCKER, key)) },
  }));
}

/** What becomes of each key of a compose file, by runtime. A key that is not here is a WARNING. */
export const SUPPORT: readonly SupportRow[] = [
  ...Object.entries(EVERYWHERE).map(([key, cell]): SupportRow => {
    const support = supportOf(cell);
    return { key, support: { PROCESS: support, DOCKER: support }, always: true };
  }),
  ...joined(),
];
