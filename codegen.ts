import type { CodegenConfig } from '@graphql-codegen/cli';

/** Types the operations of our own clients against the committed schema. */
const config: CodegenConfig = {
  schema: 'schema/schema.graphql',
  documents: 'schema/operations/*.graphql',
  generates: {
    'schema/generated/': {
      preset: 'client',
      presetConfig: { fragmentMasking: false },
      config: {
        importExtension: '.ts',
        enumType: 'string-literal',
        useTypeImports: true,
        scalars: { DateTime: 'string', JSON: 'unknown', SafeInt: 'number', ID: 'string' },
        defaultScalarType: 'never',
      },
    },
  },
};

export default config;
