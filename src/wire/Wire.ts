/**
 * The one place where a message of the wire becomes a domain value, and the reverse.
 *
 * Decoding is checked by Schema and lenient: a bad instance costs that instance, a bad field that field, and `skipped` reports
 * it. Encoding checks all that the server would refuse or store differently, and leaves out defaults, as any other proto3
 * client does.
 */
export * from "./decode.js"
export * from "./encode.js"
export * from "./read.js"
export type { Skips } from "./skips.js"
