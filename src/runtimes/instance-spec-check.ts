import { type InstanceSpec, RuntimeError } from './runtime.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$/;

/** Refuses a spec that could not run as it is written; the compose check says the same earlier and with a line number. */
export function checkInstanceSpec(spec: InstanceSpec): void {
  if (!UUID.test(spec.instanceId))
    throw new RuntimeError(`instance id ${spec.instanceId}: a lower-case UUID is needed`);
  if (!NAME.test(spec.service)) {
    throw new RuntimeError(`service ${JSON.stringify(spec.service)}: letters, digits, dot, dash and underscore only`);
  }
  if (!Number.isInteger(spec.replica) || spec.replica < 1 || spec.replica > 0xffff) {
    throw new RuntimeError(`service ${spec.service}: replica ${spec.replica} is not between 1 and 65535`);
  }
  // A container may get its command from its image.
  if (!spec.container && !spec.argv[0]) throw new RuntimeError(`service ${spec.service}: there is no command`);
  const texts = [...spec.argv, ...Object.keys(spec.environment), ...Object.values(spec.environment)];
  const paths = [...spec.files.map((file) => file.target), ...spec.volumes.map((volume) => volume.target)];
  if ([...texts, ...paths, spec.workingDir ?? ''].some((text) => text.includes('\0'))) {
    throw new RuntimeError(`service ${spec.service}: a command, a variable or a path contains a NUL byte`);
  }
  const variable = Object.keys(spec.environment).find((name) => name === '' || name.includes('='));
  if (variable !== undefined) {
    throw new RuntimeError(`service ${spec.service}: ${JSON.stringify(variable)} is no name for a variable`);
  }
  const volume = spec.volumes.find(({ name }) => !NAME.test(name));
  if (volume) throw new RuntimeError(`service ${spec.service}: ${JSON.stringify(volume.name)} is no name for a volume`);
}
