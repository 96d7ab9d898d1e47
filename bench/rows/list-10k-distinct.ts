import { row } from "../support/listCodec.js"

/** 10,000 instances whose JSON texts are all distinct: nothing that is remembered is of any use. */
export default row(1.3, { services: 1_000, instancesEach: 10, perMeta: 1 })
