/** `npx tsx bench/slow-peer.ts`: writes slow-peer.md. */
import { writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { draw } from "./support/drawSlowPeer.js"

writeFileSync(fileURLToPath(new URL("slow-peer.md", import.meta.url)), draw())
