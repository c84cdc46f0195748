import { PRIVILEGES } from './privileges.ts';
import { BUILD_EXAMPLE } from './support-example.ts';

/** What docs/compose-support.md says of containers beside the table of keys. */
export const DOCKER_SECTIONS = [
  '## Containers',
  '',
  'On DOCKER, the `context` of a `build` is a folder of `x-windflow.files`, or a git repository (`https://host/name.git#branch:folder`,',
  '`git@host:name.git`). A relative source of a bind mount is a file or folder of `x-windflow.files` too; what begins with `#!` can be',
  'run. There is no project folder on an engine: other relative paths are refused.',
  '',
  '```yaml',
  ...BUILD_EXAMPLE.trimEnd().split('\n'),
  '```',
  '',
  '`x-windflow: { ingress: true }` has a proxy serve the published ports of the stack: replicas share them, and are replaced without a gap.',
  'Without it each replica needs a port of its own.',
  '',
  '### Privileges',
  '',
  'What gives a container more than itself is refused (`privilege-refused`), unless an owner of the organization allows it for the',
  'environment with `environmentUpdate`:',
  '',
  '| privilege | needed for |',
  '|---|---|',
  ...Object.entries(PRIVILEGES).map(([privilege, use]) => `| \`${privilege}\` | ${use} |`),
  '',
  'A path is judged by its name: a link on the host may lead elsewhere, so `host-paths` is as much as root on the host.',
  '',
];
