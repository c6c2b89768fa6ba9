// kinesalite throws what a request's stream says, so a client killed within a request would end it for all others.
'use strict'

process.on('uncaughtException', (error) => {
  console.error(error)
  if (error.code !== 'ECONNRESET') process.exit(1)
})
