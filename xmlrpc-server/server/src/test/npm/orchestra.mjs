// What Xen Orchestra does with its library, against two servers: connects, fills its cache, follows
// events, reads figures, and moves a VM. The plan comes as JSON on standard input, what was seen
// goes as JSON to standard output. The argument is where npm has installed the library.

import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const { createClient } = await import(pathToFileURL(`${process.argv[2]}/xen-api/index.mjs`))
const plan = JSON.parse(readFileSync(0, 'utf8'))

// The library warns of whatever it does not understand and goes on.
const warnings = []
console.warn = (...words) =>
  warnings.push(words.map(word => (word instanceof Error ? word.stack : String(word))).join(' '))

// Whatever it waits for in vain.
const seen = {}
setTimeout(() => {
  process.stderr.write(`nothing comes after ${JSON.stringify({ ...seen, warnings })}\n`, () => process.exit(1))
}, 60e3)

const open = async ({ address, password }) => {
  const client = createClient({
    url: `https://${address}`,
    auth: { user: 'root', password },
    allowUnauthorized: true,
    transport: plan.transport,
    debounce: 10,
  })
  await client.connect()
  await client.objectsFetched
  return client
}

const here = await open(plan.here)
const there = await open(plan.there)

const count = {}
for (const object of Object.values(here.objects.all)) {
  count[object.$type] = (count[object.$type] ?? 0) + 1
}
seen.types = count
seen.master = here.pool.$master.name_label
seen.platform = here.pool.$master.software_version.platform_version

// What it notes of itself and of VMs; a barrier waits for the events of what went before.
await here.pool.update_other_config('xo:clientInfo:test', '{"lastConnected":0}')
const vm = here.getObjectByUuid(plan.vm)
await vm.update_platform('cores-per-socket', '1')
seen.platformAfter = (await here.barrier(vm.$ref)).platform['cores-per-socket']
await vm.update_platform('cores-per-socket', null)
seen.platformAtLast = (await here.barrier(vm.$ref)).platform['cores-per-socket'] ?? null
seen.typeOfIntegers = typeof vm.VCPUs_max
seen.allowed = vm.allowed_operations.includes('migrate_send')

const figures = await here.getResource('/rrd_updates', {
  query: { cf: 'AVERAGE', host: 'true', interval: 5, json: 'true', start: plan.start },
})
seen.figures = (await figures.body.json()).meta.legend.length
// The server ends the task that the library has made for the download.
seen.figuresTask = await figures.task

// As for a VM that is halted: `live` is always true.
const network = there.getObjectByUuid(plan.network)
const token = await there.call('host.migrate_receive', there.pool.master, network.$ref, {})
const sr = there.getObjectByUuid(plan.sr)
const vdis = Object.fromEntries(vm.$VBDs.map(vbd => [vbd.VDI, sr.$ref]))
const vifs = Object.fromEntries(vm.VIFs.map(vif => [vif, network.$ref]))
const parameters = [vm.$ref, token, true, vdis, vifs, { force: 'false' }]
await here.callAsync('VM.assert_can_migrate', ...parameters)
const ref = await here.callAsync('VM.migrate_send', ...parameters)
const moved = await there.barrier(ref)
seen.moved = { uuid: moved.uuid, power_state: moved.power_state, host: moved.$resident_on?.uuid ?? null }
seen.newReference = ref !== vm.$ref
await here.barrier()
seen.gone = here.getObjectByUuid(plan.vm, null) === null

// Errors have the code and the parameters.
try {
  await here.call('VM.start', vm.$ref, false, false)
} catch (error) {
  seen.error = [error.code, ...error.params]
}

await Promise.all([here.disconnect(), there.disconnect()])
seen.warnings = warnings
process.stdout.write(JSON.stringify(seen), () => process.exit(0))
