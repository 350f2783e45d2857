/* lib/net/service.c - a service in memory of its own, and a lender that keeps one block per thread. */
#include "service.h"

#include "serve.h"

#include <stdlib.h>
#include <string.h>

/* -- lender ----------------------------------------------------------------------------------------- */

/* Most sessions borrow a block and give it back before the next one is served: one block does for all. */
static _Thread_local struct {
    void *mem;
    size_t len;
} kept;

static void *lend(size_t len, void *ctx)
{
    (void)ctx;
    if (kept.mem == NULL || kept.len != len) return malloc(len);
    void *mem = kept.mem;
    kept.mem = NULL;
    return mem;
}

static void give(void *mem, size_t len, void *ctx)
{
    (void)ctx;
    if (kept.mem != NULL) {
        free(mem);
        return;
    }
    kept.mem = mem;
    kept.len = len;
}

ehlo_lender ehlo_lender_or_kept(ehlo_lender lender)
{
    return lender.lend != NULL ? lender : (ehlo_lender){ .lend = lend, .give = give };
}

void ehlo_lender_forget(void)
{
    free(kept.mem);
    kept.mem = NULL;
}

/* -- service ---------------------------------------------------------------------------------------- */

static int service_new(ehlo_service **service, const ehlo_service_config *cfg, const ehlo_server_callbacks *callbacks)
{
    size_t size = ehlo_service_size(cfg);
    if (size == 0) return EHLO_ERR_ARG;
    void *mem = malloc(size);
    if (mem == NULL) return EHLO_ERR_MEMORY;
    int error = ehlo_service_init(service, mem, size, cfg, callbacks);
    if (error != EHLO_OK) free(mem);
    return error;
}

int ehlo_net_service_new_sized(ehlo_service **service, const ehlo_service_config *cfg, size_t cfg_size,
                               const ehlo_server_callbacks *callbacks, size_t callbacks_size)
{
    ehlo_service_config own_cfg = { 0 };
    ehlo_server_callbacks own_callbacks = { 0 };
    memcpy(&own_cfg, cfg, cfg_size < sizeof own_cfg ? cfg_size : sizeof own_cfg);
    memcpy(&own_callbacks, callbacks, callbacks_size < sizeof own_callbacks ? callbacks_size : sizeof own_callbacks);
    own_callbacks.write = ehlo_serve_write;
    own_cfg.lender = ehlo_lender_or_kept(own_cfg.lender);
    return service_new(service, &own_cfg, &own_callbacks);
}

void ehlo_net_service_free(ehlo_service *service)
{
    free(service);
}
