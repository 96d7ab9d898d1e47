/**
 * The one place where a message of the wire becomes a domain value, and the other way round.
 *
 * Decoding is checked by Schema and forgiving where the world is untidy: what another implementation wrote badly into
 * one instance costs that instance, or only the bad field of it, and is reported in `skipped`. Encoding checks all that
 * the server would refuse or store differently, and leaves a default value out, so that the bytes are those of any other
 * proto3 client.
 */
export * from "./decode.js"
export * from "./encode.js"
export * from "./read.js"
