import { checkStack, type Finding, MAX_COMPOSE_BYTES, type StackServiceSummary } from '../../compose/index.ts';
import type { RuntimeKind } from '../../db/generated/prisma/enums.ts';
import { createMasker, type Masker } from '../../realtime/masking.ts';
import { ValidationError } from '../../shared/errors.ts';
import type { ResolvedVariables } from '../environments/variables.ts';
import { isStorable, isStorableJson } from '../input.ts';

/** Stands for a secret where its value may not be used. */
const WITHHELD = 'secret-value-withheld';

/** Throws a ValidationError for what is no compose file at all: too long, or a text that cannot be stored. */
export function refuseUnreadable(compose: string): void {
  if (Buffer.byteLength(compose) > MAX_COMPOSE_BYTES) {
    const limit = MAX_COMPOSE_BYTES.toLocaleString('en');
    throw ValidationError.field(
      'compose',
      `is longer than ${limit} bytes of UTF-8: split the stack, or move data out of the file`,
    );
  }
  if (!isStorable(compose)) {
    throw ValidationError.field('compose', 'has a NUL character or broken Unicode: save the file as UTF-8 text');
  }
}

/** The services of a compose file that may be stored: what no runtime and no variable could mend is a ValidationError with its findings. */
export function requireStorableStack(compose: string): StackServiceSummary[] {
  refuseUnreadable(compose);
  const { findings, services } = checkStack(compose, {});
  const errors = findings.filter(({ severity }) => severity === 'ERROR');
  if (errors.length > 0) {
    const message = `the compose file has ${errors.length === 1 ? 'an error' : `${errors.length} errors`}: ${describe(errors[0]!)}`;
    throw new ValidationError(message, { fields: [{ path: ['compose'], message }], findings });
  }
  if (!isStorableJson(JSON.stringify(services))) {
    throw ValidationError.field('compose', 'a service has a NUL character or broken Unicode in it: take it out');
  }
  return services;
}

/**
 * Checks a compose file for a runtime and an environment's variables. No finding shows a secret. `useSecrets` false: for callers who could
 * not deploy with the secrets either, and could guess at them by what is found; each stands there as any text then.
 */
export function checkForEnvironment(
  compose: string,
  options: { runtime: RuntimeKind | null; variables: ResolvedVariables | null; useSecrets: boolean },
): Finding[] {
  const { runtime, variables, useSecrets } = options;
  if (!variables) return checkStack(compose, { runtime, variables: null }).findings;
  const secrets = Object.entries(variables.secrets).map(
    ([name, { value }]) => [name, useSecrets ? value : WITHHELD] as const,
  );
  const { findings } = checkStack(compose, {
    runtime,
    variables: { ...variables.plain, ...Object.fromEntries(secrets) },
  });
  if (!useSecrets || secrets.length === 0) return findings;
  const masker = createMasker(secrets.map(([, value]) => value));
  return findings.map((finding) => maskFinding(finding, masker));
}

/** A finding may quote a value. */
export function maskFinding(finding: Finding, masker: Masker): Finding {
  const mask = (text: string | null) => (text === null ? null : masker.maskText(text));
  const { message, path, suggestion } = finding;
  return { ...finding, message: masker.maskText(message), path: mask(path), suggestion: mask(suggestion) };
}

function describe({ line, message }: Finding): string {
  return line === null ? message : `line ${line}: ${message}`;
}
