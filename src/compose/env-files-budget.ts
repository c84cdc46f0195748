/** All env files that services read, each time that one does, and what variables make of them: characters together. */
export const MAX_ENV_FILES_LENGTH = 8 * 1024 * 1024;
/** Values that env files give to the services of a stack, all together. */
export const MAX_ENV_FILES_VALUES = 100_000;

/** What the env files of one check may still hold: under 0 once a file has asked for more. */
export class EnvFilesBudget {
  characters = MAX_ENV_FILES_LENGTH;
  values = MAX_ENV_FILES_VALUES;
}
