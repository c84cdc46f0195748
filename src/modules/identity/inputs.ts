import { z } from 'zod';

export const MIN_USERNAME_LENGTH = 3;
export const MAX_USERNAME_LENGTH = 50;
export const MIN_PASSWORD_LENGTH = 8;
export const MAX_PASSWORD_LENGTH = 128;
const MAX_EMAIL_LENGTH = 254;
const MAX_TOKEN_LENGTH = 256;

/** Characters as a person counts them, not UTF-16 units. */
const length = (text: string): number => [...text].length;

// No "@": a user name that looks like an address could pass for another user's.
const username = z
  .string()
  .transform((text) => text.trim().normalize('NFKC'))
  .refine(
    (text) => length(text) >= MIN_USERNAME_LENGTH && length(text) <= MAX_USERNAME_LENGTH,
    `must have ${MIN_USERNAME_LENGTH} to ${MAX_USERNAME_LENGTH} characters`,
  )
  .refine(
    (text) => /^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]*$/u.test(text),
    'must begin with a letter or digit and have only letters, digits, ".", "_" and "-"',
  );

const email = z
  .string()
  .trim()
  .max(MAX_EMAIL_LENGTH, `must have at most ${MAX_EMAIL_LENGTH} characters`)
  .pipe(z.email('must be an e-mail address, like "ada@example.com"'));

const password = z
  .string()
  .refine((text) => text.isWellFormed(), 'has half of a surrogate pair: type it anew')
  .refine(
    (text) => length(text) >= MIN_PASSWORD_LENGTH && length(text) <= MAX_PASSWORD_LENGTH,
    `must have ${MIN_PASSWORD_LENGTH} to ${MAX_PASSWORD_LENGTH} characters`,
  );

const token = z.string().max(MAX_TOKEN_LENGTH, 'is too long to be such a token').nullish();

export const registrationInput = z.object({ username, email, password, invitationToken: token, setupToken: token });
export type RegistrationInput = z.input<typeof registrationInput>;

export type LoginInput = { username: string; password: string; rememberMe?: boolean | null };

/** What a user name or an e-mail is unique by. */
export function keyOf(name: string): string {
  return name.trim().normalize('NFKC').toLowerCase();
}

/** Whether a login could be right at all: what no registration accepts needs no look-up and no hash. */
export function isPossibleLogin({ username: name, password: secret }: LoginInput): boolean {
  return (
    name.length <= MAX_EMAIL_LENGTH &&
    length(secret) <= MAX_PASSWORD_LENGTH &&
    [name, secret].every((text) => text.isWellFormed()) &&
    !name.includes('\0')
  );
}
