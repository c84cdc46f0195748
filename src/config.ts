import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { isAddressOrNetwork } from './shared/address-guard.ts';
import { SECRET_KEY_BYTES } from './shared/crypto.ts';

/** Everything that a setting decides. This file alone reads the environment. */
export type Config = {
  host: string;
  port: number;
  /** The origin that browsers use, without a trailing slash. */
  publicUrl: string;
  dataDirectory: string;
  /** Null: the embedded PostgreSQL. */
  databaseUrl: string | null;
  /** Null: wake-ups between servers go over the database. */
  redisUrl: string | null;
  secretKey: Uint8Array;
  registration: 'first' | 'open';
  processRuntime: boolean;
  /** Of the proxy that holds published ports on container engines. */
  ingressImage: string;
  /** The server of models that agents talk to, and what they use of it; null: none. */
  llm: { baseUrl: string | null; apiKey: string | null; model: string | null };
  /** Where services live: one folder for all server instances of this host. */
  runtimeDirectory: string;
  /** More host names, beside loopback and the public URL's, that requests may name. */
  allowedHosts: string[];
  /** Origins of other sites whose pages may call the API. */
  corsOrigins: string[];
  /** Addresses and networks that are not public, and may be reached for users all the same. */
  allowedAddresses: string[];
  /** Lines are dropped by the day of arrival, once all of the day is older. */
  logRetentionDays: number;
  executionRetentionDays: number;
  /** How many lines of a deployment are stored in the long run, see LogRateLimit; 0: all. */
  logLinesPerSecond: number;
  logLevel: string;
};

export class ConfigError extends Error {
  override name = 'ConfigError';
}

const PROJECT = dirname(dirname(fileURLToPath(import.meta.url)));
const KEY_FILE = 'secret.key';
/** What an organization has used of its tokens in a month is counted in its executions: none of them goes within that month. */
const MIN_EXECUTION_RETENTION_DAYS = 31;
const MAX_RETENTION_DAYS = 3_650;
const MAX_LOG_LINES_PER_SECOND = 1_000_000_000;
const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);
const origin = z.url({ protocol: /^https?$/ }).transform((text) => text.replace(/\/+$/, ''));

const settings = z.object({
  HOST: z.string().min(1).default('127.0.0.1'),
  PORT: z.coerce.number().int().min(0).max(65_535).default(4000),
  WINDFLOW_PUBLIC_URL: origin.optional(),
  WINDFLOW_DATA_DIR: z.string().min(1).default(join(PROJECT, '.windflow')),
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'a PostgreSQL URL: postgresql://user:password@host:5432/database')
    .optional(),
  REDIS_URL: z
    .string()
    .refine(isRedisUrl, 'the URL of a Redis or Valkey: redis://user:password@host:6379, or rediss:// with TLS')
    .optional(),
  WINDFLOW_SECRET_KEY: z
    .string()
    .refine(
      (text) => Buffer.from(text, 'base64').length === SECRET_KEY_BYTES,
      '32 bytes in base64: openssl rand -base64 32',
    )
    .optional(),
  WINDFLOW_REGISTRATION: z.enum(['first', 'open']).default('first'),
  WINDFLOW_PROCESS_RUNTIME: z.enum(['on', 'off']).default('on'),
  WINDFLOW_RUNTIME_DIR: z.string().min(1).optional(),
  WINDFLOW_ALLOWED_HOSTS: list.default([]),
  WINDFLOW_CORS_ORIGINS: list.default([]),
  WINDFLOW_ALLOWED_ADDRESSES: list
    .refine((entries) => entries.every(isAddressOrNetwork), 'IP addresses or networks: 10.0.0.5,192.168.0.0/16')
    .default([]),
  WINDFLOW_LOG_RETENTION_DAYS: z.coerce.number().int().min(1).max(MAX_RETENTION_DAYS).default(30),
  WINDFLOW_EXECUTION_RETENTION_DAYS: z.coerce
    .number()
    .int()
    .min(MIN_EXECUTION_RETENTION_DAYS)
    .max(MAX_RETENTION_DAYS)
    .default(90),
  WINDFLOW_LOG_LINES_PER_SECOND: z.coerce.number().int().min(0).max(MAX_LOG_LINES_PER_SECOND).default(20_000),
  WINDFLOW_INGRESS_IMAGE: z
    .string()
    .regex(/^[a-z0-9][\w.:/@-]*$/, 'the name of an image: haproxy:3.2-alpine')
    .default('haproxy:3.2-alpine'),
  LLM_BASE_URL: origin.optional(),
  LLM_API_KEY: z.string().min(1).optional(),
  LLM_MODEL: z.string().min(1).optional(),
  WINDFLOW_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
});

/** The names of all settings, for the README's table and its test. */
export const SETTING_NAMES = Object.keys(settings.shape);

/** Reads the settings; throws a ConfigError that names every wrong one and how to mend it. */
export function loadConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const given = Object.fromEntries(SETTING_NAMES.map((name) => [name, environment[name] || undefined]));
  const parsed = settings.safeParse(given);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
    throw new ConfigError(`these settings make no sense:\n${lines.join('\n')}`);
  }
  const value = parsed.data;
  const dataDirectory = resolve(value.WINDFLOW_DATA_DIR);
  const host = value.HOST;
  return {
    host,
    port: value.PORT,
    publicUrl: value.WINDFLOW_PUBLIC_URL ?? `http://${host.includes(':') ? `[${host}]` : host}:${value.PORT}`,
    dataDirectory,
    databaseUrl: value.DATABASE_URL ?? null,
    redisUrl: value.REDIS_URL ?? null,
    secretKey: secretKey(value.WINDFLOW_SECRET_KEY, dataDirectory),
    registration: value.WINDFLOW_REGISTRATION,
    processRuntime: value.WINDFLOW_PROCESS_RUNTIME === 'on',
    runtimeDirectory: resolve(value.WINDFLOW_RUNTIME_DIR ?? defaultRuntimeDirectory()),
    allowedHosts: value.WINDFLOW_ALLOWED_HOSTS,
    corsOrigins: value.WINDFLOW_CORS_ORIGINS,
    allowedAddresses: value.WINDFLOW_ALLOWED_ADDRESSES,
    logRetentionDays: value.WINDFLOW_LOG_RETENTION_DAYS,
    executionRetentionDays: value.WINDFLOW_EXECUTION_RETENTION_DAYS,
    logLinesPerSecond: value.WINDFLOW_LOG_LINES_PER_SECOND,
    ingressImage: value.WINDFLOW_INGRESS_IMAGE,
    llm: {
      baseUrl: value.LLM_BASE_URL ?? null,
      apiKey: value.LLM_API_KEY ?? null,
      model: value.LLM_MODEL ?? null,
    },
    logLevel: value.WINDFLOW_LOG_LEVEL,
  };
}

/** Whether only programs of this machine can reach the server. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.has(host) || host.startsWith('127.');
}

function isRedisUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^rediss?:$/.test(url.protocol) && url.hostname !== '' && /^\/?\d*$/.test(url.pathname);
}

function defaultRuntimeDirectory(): string {
  return process.getuid?.() === 0 ? '/var/lib/windflow/runtime' : join(homedir(), '.local', 'state', 'windflow');
}

/** The given key, or the one that the data directory keeps: made at the first start, readable for its owner alone. */
function secretKey(given: string | undefined, dataDirectory: string): Uint8Array {
  if (given) return Buffer.from(given, 'base64');
  const file = join(dataDirectory, KEY_FILE);
  if (!existsSync(file)) {
    // Others pass through to what is theirs (PostgreSQL's user, when the server is root), and read nothing.
    mkdirSync(dataDirectory, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
    writeFileSync(`${file}.new`, randomBytes(SECRET_KEY_BYTES).toString('base64'), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
  chmodSync(file, 0o600);
  const key = Buffer.from(readFileSync(file, 'utf8').trim(), 'base64');
  if (key.length === SECRET_KEY_BYTES) return key;
  throw new ConfigError(
    `${file} does not hold a key: 32 bytes in base64. Restore it from your backup; without it secrets are lost.`,
  );
}
