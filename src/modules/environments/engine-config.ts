import { posix } from 'node:path';
import { z } from 'zod';
import { PermissionDeniedError, ValidationError } from '../../shared/errors.ts';
import { isOwnAddress } from '../../shared/own-address.ts';

export const DEFAULT_ENDPOINT = 'unix:///var/run/docker.sock';
const MAX_REGISTRIES = 20;
const MAX_HOST_KEYS = 10;
const MAX_PEM_LENGTH = 20_000;
const MAX_CREDENTIAL_LENGTH = 4_096;

const pem = z
  .string()
  .max(MAX_PEM_LENGTH)
  .regex(/-----BEGIN [A-Z0-9 ]+-----/, 'must be PEM text, with its BEGIN and END lines');
const credential = z.string().min(1).max(MAX_CREDENTIAL_LENGTH);

/** How a container engine is reached; everything but the endpoint is secret. */
const engineConfig = z.strictObject({
  endpoint: z
    .string()
    .max(255)
    .refine(isEndpoint, 'must be "unix:///path/to/docker.sock", "tcp://host:2376" or "ssh://user@host"')
    .default(DEFAULT_ENDPOINT),
  tls: z.strictObject({ ca: pem.optional(), cert: pem, key: pem }).optional(),
  sshKey: pem.optional(),
  sshHostKeys: z
    .array(
      z.string().regex(/^SHA256:[A-Za-z0-9+/]{43}$/, 'must be a fingerprint as ssh-keygen -lf prints it: "SHA256:…"'),
    )
    .min(1)
    .max(MAX_HOST_KEYS)
    .optional(),
  registries: z
    .record(z.string().max(255), z.strictObject({ username: credential, password: credential }))
    .refine((registries) => Object.keys(registries).length <= MAX_REGISTRIES, `names more than ${MAX_REGISTRIES}`)
    .optional(),
});

/** `isLocal`: whether it may be an engine of the server's own machine. */
export type EngineConfig = z.output<typeof engineConfig> & { isLocal: boolean };

/** Throws a ValidationError that names the field; no value of it is quoted, since most are secret. */
export function parseEngineConfig(config: Record<string, unknown> | null | undefined): EngineConfig {
  const parsed = engineConfig.safeParse(config ?? {});
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const path = ['runtimeConfig', ...issue!.path.map(String)];
    throw ValidationError.field(path, issue!.code === 'unrecognized_keys' ? unknownKeys(issue!.keys) : issue!.message);
  }
  const { endpoint, tls, sshKey, sshHostKeys } = parsed.data;
  if (tls && !endpoint.startsWith('tcp:'))
    throw ValidationError.field(['runtimeConfig', 'tls'], 'belongs to a tcp endpoint');
  if (endpoint.startsWith('ssh:') && !sshKey)
    throw ValidationError.field(['runtimeConfig', 'sshKey'], 'is needed: the private key of the user, as PEM text');
  if (endpoint.startsWith('ssh:') && !sshHostKeys)
    throw ValidationError.field(
      ['runtimeConfig', 'sshHostKeys'],
      'are needed: the fingerprints of the host’s keys, which "ssh-keyscan HOST | ssh-keygen -lf -" prints',
    );
  for (const [name, value] of Object.entries({ sshKey, sshHostKeys }))
    if (value && !endpoint.startsWith('ssh:'))
      throw ValidationError.field(['runtimeConfig', name], 'belongs to an ssh endpoint');
  return { ...parsed.data, isLocal: isLocalEndpoint(endpoint) };
}

const unknownKeys = (keys: string[]): string =>
  `has no "${keys.join('", "')}": it takes endpoint, tls { ca, cert, key }, sshKey, sshHostKeys and registries { host: { username, password } }`;

function isEndpoint(text: string): boolean {
  const url = URL.parse(text);
  if (!url || url.password || url.search || url.hash) return false;
  if (url.protocol === 'unix:')
    return url.host === '' && posix.normalize(url.pathname) === url.pathname && url.pathname.length > 1;
  if (url.pathname !== '' && url.pathname !== '/') return false;
  if (url.protocol === 'tcp:') return url.hostname !== '' && url.port !== '' && url.username === '';
  return url.protocol === 'ssh:' && url.hostname !== '' && url.username !== '';
}

/** Whether it leads to the server's own machine: who uses an engine there has the rights of that machine's root. */
function isLocalEndpoint(endpoint: string): boolean {
  const url = new URL(endpoint);
  if (url.protocol === 'unix:') return true;
  // As browsers read it: "2130706433" and "0x7f.1" are 127.0.0.1.
  const host = (URL.parse(`http://${url.hostname}`)?.hostname ?? url.hostname).replace(/^\[|\]$/g, '').toLowerCase();
  return host === 'localhost' || host.endsWith('.localhost') || isOwnAddress(host);
}

/** Throws PermissionDeniedError: an engine of the server's own machine is the installation's, not a tenant's. */
export function requireMayUse(config: EngineConfig, caller: { isSuperadmin: boolean }): void {
  if (!config.isLocal || caller.isSuperadmin) return;
  throw new PermissionDeniedError(
    `${config.endpoint} is an engine of the server's own machine: only a superadmin may give it to an environment`,
  );
}
