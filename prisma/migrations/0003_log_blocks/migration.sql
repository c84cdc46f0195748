-- What each thousand lines of a long log hold, for searches to leave out those without a match. Outside the datamodel, derived from
-- "log_lines" at any time: block n is of the sequences 1000 n + 1 to 1000 n + 1000.
CREATE TABLE "log_blocks" (
  "deployment_id" uuid NOT NULL,
  "number" bigint NOT NULL,
  "occurred_from" timestamptz(3) NOT NULL,
  "occurred_to" timestamptz(3) NOT NULL,
  "services" text[] NOT NULL,
  "streams" integer NOT NULL,
  "max_level" smallint NOT NULL,
  "has_dropped" boolean NOT NULL,
  "bytes" integer NOT NULL,
  "folding" text NOT NULL,
  "folded" text COLLATE "C" NOT NULL,
  PRIMARY KEY ("deployment_id", "number")
);
-- Searched far more quickly than it could be decompressed.
ALTER TABLE "log_blocks" ALTER COLUMN "folded" SET STORAGE EXTERNAL;
