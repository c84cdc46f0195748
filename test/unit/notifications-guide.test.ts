import { readFileSync } from 'node:fs';
import { buildSchema, parse, validate } from 'graphql';
import { expect, it } from 'vitest';
import { newSecret, signedHeaders } from '../../src/shared/standard-webhooks.ts';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const blockOf = (language: string) =>
  new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(read('docs/notifications.md'))![1]!;

it('should verify webhooks by the function of the guide', async () => {
  const { isGenuine } = await import(`data:text/javascript,${encodeURIComponent(blockOf('js'))}`);
  const [secret, sentAt, body] = [newSecret(), new Date(), '{"message":"ä"}'];
  const headers = signedHeaders(secret, 'id', sentAt, body);
  expect(isGenuine(secret, headers, body)).toBe(true);
  expect(isGenuine(secret, { ...headers, 'webhook-signature': `v1,AAAA ${headers['webhook-signature']}` }, body)).toBe(
    true,
  );
  expect(isGenuine(newSecret(), headers, body)).toBe(false);
  expect(isGenuine(secret, headers, `${body} `)).toBe(false);
  expect(isGenuine(secret, { ...headers, 'webhook-id': 'other' }, body)).toBe(false);
  expect(isGenuine(secret, headers, body, sentAt.getTime() + 600_000)).toBe(false);
});

it('should only have operations that the schema knows', () => {
  expect(validate(buildSchema(read('schema/schema.graphql')), parse(blockOf('graphql')))).toEqual([]);
});
