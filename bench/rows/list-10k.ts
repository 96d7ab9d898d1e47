import { row } from "../support/listCodec.js"

/** 10,000 instances: each has an `endpoints_json` of its own, ten share a `meta_json`. */
export default row(0.8, { services: 1_000, instancesEach: 10, perMeta: 10 })
