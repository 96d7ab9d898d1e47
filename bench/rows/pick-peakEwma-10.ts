import { peakEwma } from "../../src/core/balancing/Balancing.js"
import { pickRow } from "../support/picking.js"

export default pickRow(peakEwma, 10)
