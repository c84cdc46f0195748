import { MAX_COMPOSE_BYTES, MAX_DEPTH, MAX_EXPANDED_LENGTH, MAX_NODES, MAX_TOKENS } from './document.ts';
import { MAX_ENV_FILES_LENGTH, MAX_ENV_FILES_VALUES } from './env-files-budget.ts';
import { SCORING } from './finding.ts';
import { MAX_FOLDER_FILES } from './inline-files.ts';
import { MAX_INTERPOLATED_LENGTH } from './interpolation.ts';
import { MAX_REPLICAS } from './lifecycle.ts';
import { MAX_PORTS } from './ports.ts';
import { MAX_MOUNTS } from './service.ts';
import { MAX_ENTRIES, MAX_NAME_LENGTH, MAX_SERVICES } from './stack.ts';
import { type RuntimeName, SUPPORT, SUPPORTED_RUNTIMES } from './support.ts';
import type { SupportLevel } from './support-cells.ts';
import { FILES_EXAMPLE } from './support-example.ts';
import { DOCKER_SECTIONS } from './support-page-docker.ts';
import { MAX_STACK_BYTES, MAX_STACK_PORTS, MAX_STACK_REPLICAS } from './totals.ts';
import { MAX_DURATION_MS } from './units.ts';

const LEVELS: Record<SupportLevel, [word: string, meaning: string]> = {
  yes: ['yes', 'honoured'],
  rules: ['within limits', 'honoured as the note says; where a file asks for more, a finding says so'],
  info: ['no meaning', 'it has no meaning there; an INFO says so'],
  warning: ['no', 'not honoured; a WARNING says what happens instead'],
  error: ['refused', 'an ERROR: its loss would change what was asked for'],
};

const SECTIONS: [title: string, prefix: string][] = [
  ['Services', 'services.*.'],
  ['Volumes', 'volumes.*.'],
  ['Networks', 'networks.*.'],
  ['Configs', 'configs.*.'],
  ['Secrets', 'secrets.*.'],
];

/** docs/compose-support.md: the table of what each runtime honours, as a page. */
export function supportPage(): string {
  const claimed = (key: string) => SECTIONS.some(([, prefix]) => key.startsWith(prefix));
  return [
    '# What a compose file may ask for',
    '',
    'Generated from `src/compose/support*.ts` by `node scripts/compose-support.ts`; a test keeps it current.',
    '',
    'WindFlow reads the [Compose Specification](https://github.com/compose-spec/compose-spec). Nothing is ignored in silence:',
    '`stackValidate` and `stackCreate` say of every key that is not honoured what happens instead, with line and column.',
    '',
    '| word | meaning |',
    '|---|---|',
    ...Object.values(LEVELS).map(([word, meaning]) => `| ${word} | ${meaning} |`),
    '',
    ...FILES,
    ...DOCKER_SECTIONS,
    ...STRICTER,
    ...LIMITS,
    ...table('Top level', '', (key) => !claimed(key)),
    ...SECTIONS.flatMap(([title, prefix]) => table(title, prefix, (key) => key.startsWith(prefix))),
    ...SCORE,
  ].join('\n');
}

function table(title: string, prefix: string, belongs: (key: string) => boolean): string[] {
  const rows = SUPPORT.filter(({ key }) => belongs(key)).toSorted((a, b) => (a.key < b.key ? -1 : 1));
  return [
    `## ${title}`,
    '',
    `| key | ${SUPPORTED_RUNTIMES.join(' | ')} |`,
    `|---|${SUPPORTED_RUNTIMES.map(() => '---|').join('')}`,
    ...rows.map(({ key }) => {
      const cells = SUPPORTED_RUNTIMES.map((runtime) => cell(key, runtime));
      return `| \`${key.slice(prefix.length)}\` | ${cells.join(' | ')} |`;
    }),
    '',
  ];
}

const SUPPORT_OF = new Map(SUPPORT.map(({ key, support }) => [key, support]));

/** "**refused** The commands would not be run."; without the note where it is the one of the key that holds this one. */
function cell(key: string, runtime: RuntimeName): string {
  const { level, note, neutral } = SUPPORT_OF.get(key)![runtime];
  if (level === 'yes') return LEVELS.yes[0];
  const harmless = neutral ? ` (\`${neutral[0]}\` is no request.)` : '';
  const isSame = holders(key).some((holder) => SUPPORT_OF.get(holder)?.[runtime].note === note);
  return `**${LEVELS[level][0]}**${isSame ? '' : ` ${note}${harmless}`}`;
}

/** "a.b[].c" is held by "a.b[]", "a.b" and "a". */
function holders(key: string): string[] {
  return [...key.matchAll(/\[\]|\./g)].map(({ index }) => key.slice(0, index));
}

const FILES = [
  '## Files that a stack brings along',
  '',
  'A stack is one file. What would lie beside it stands under `x-windflow.files`: a mapping from path to text, which other tools',
  'pass over. `env_file` (a path, a list, `{ path, required, format: raw }`) and the `file` of configs and secrets are read from there;',
  '`./web.env` and `web.env` are the same file. The texts are taken as they stand, without interpolation. Env files are read as the Compose',
  "Specification says, with the environment's variables first and what stands further up in the file second; what `environment` says wins",
  'over all of them. A path that is not there is an ERROR, unless it is `required: false`. `include` and `extends.file` are refused.',
  '',
  '```yaml',
  ...FILES_EXAMPLE.trimEnd().split('\n'),
  '```',
  '',
  "A config's text can also stand in its `content` or in the variable that its `environment` names. A secret belongs into a secret",
  'variable; `file` and `content` are taken too, with a WARNING, since all who may read the stack may read them.',
  '',
];

const STRICTER = [
  '## Compared with `docker compose config`',
  '',
  'Without a runtime, `stackValidate` accepts and refuses what `docker compose config` does, and for the same reasons, but for this:',
  '',
  '| | here | there |',
  '|---|---|---|',
  '| a service with a `command`, without `image` and `build` | accepted: PROCESS runs it | refused |',
  '| `content` of a secret | a WARNING | refused |',
  '| a `restart` policy or a `stop_signal` that is none; a NUL character | refused | accepted; `up` refuses it |',
  '| a `command` with `&&`, a pipe or a redirection outside of a list and quotes | refused: no shell runs it | cut off there, without a word |',
  '| `test: [CMD]` without a program | refused | accepted; the check always fails |',
  '| names of more than 63 characters, or that begin with `.`, `_` or `-`; `..` in a target | refused: names are folders | accepted |',
  '| two mounts of different kinds, or in different spelling, at one target | refused | accepted; `up` refuses it |',
  '| a protocol of a port other than tcp and udp | refused | accepted |',
  '| `include`, `extends.file`, files that are not under `x-windflow` | refused: a stack is one file | read from disk |',
  '| several YAML documents; the tags `!reset` and `!override` | refused; a WARNING | merged |',
  '| no service at all | refused: there is nothing to deploy | accepted |',
  '',
];

const bounds: [of: string, most: number, unit: string][] = [
  ['the file', MAX_COMPOSE_BYTES, 'bytes of UTF-8'],
  ['the file', MAX_TOKENS, 'YAML tokens'],
  ['the file', MAX_DEPTH, 'levels of nesting'],
  ['the file with its aliases and merge keys expanded, and what `extends` makes of it', MAX_NODES, 'values'],
  ['the same', MAX_EXPANDED_LENGTH, 'characters'],
  ['all values with their variables filled in', MAX_INTERPOLATED_LENGTH, 'characters'],
  [
    'all env files, for each service that reads them, and what variables make of them',
    MAX_ENV_FILES_LENGTH,
    'characters',
  ],
  ['the same', MAX_ENV_FILES_VALUES, 'values'],
  ['`services`', MAX_SERVICES, 'entries'],
  ['each other section', MAX_ENTRIES, 'entries'],
  ['a name', MAX_NAME_LENGTH, 'characters'],
  ['a service', MAX_MOUNTS, 'volumes, configs and secrets'],
  ['the context of a build; what a service binds', MAX_FOLDER_FILES, 'files of `x-windflow`'],
  ['a service', MAX_PORTS, 'ports, ranges written out'],
  ['a service', MAX_REPLICAS, 'replicas'],
  ['a stack', MAX_STACK_REPLICAS, 'replicas'],
  ['a stack', MAX_STACK_PORTS, 'ports of all replicas'],
  [
    'a stack',
    MAX_STACK_BYTES,
    'bytes of commands, variables, configs and secrets, on DOCKER of all that containers are told, counted for each replica',
  ],
  ['a duration', MAX_DURATION_MS / 86_400_000, 'days'],
];

const LIMITS = [
  '## Limits',
  '',
  'They hold for every runtime, and for the services of active profiles. What is beyond one is an ERROR.',
  '',
  '| | at most | |',
  '|---|---|---|',
  ...bounds.map(([of, most, unit]) => `| ${of} | ${most.toLocaleString('en-US')} | ${unit} |`),
  '',
];

const SCORE = [
  '## The score',
  '',
  '`stackValidate` gives all findings at once: for a runtime, with the variables of an environment, or for neither. `valid` is true without an',
  'ERROR. `score` tells in one number how much there is to mend:',
  '',
  '| finding | costs | at most |',
  '|---|---|---|',
  `| the first ERROR | ${SCORING.firstError} | |`,
  `| each further ERROR | ${SCORING.furtherError} | all that is left |`,
  `| a WARNING | ${SCORING.warning} | ${SCORING.maxWarnings} |`,
  `| an INFO | ${SCORING.info} | ${SCORING.maxInfos} |`,
  '',
  'A file that nothing is said about has 100 points, none has less than 0. So a file without an ERROR has 50 at least, one with an ERROR 50 at',
  'most: 88 is two WARNINGs and two INFOs, 35 an ERROR and three WARNINGs. A file that is deployed to several runtimes has a score on each.',
  'At most 200 findings are shown, the most severe first; one more then says how many are not, and counts as one.',
  '',
];
