/* Deliveries: the input is a policy, a batch, and what a world of name servers and hosts says, over as many attempts as
 * it takes; see delivery_world.h for what has to hold. */
#include <stdint.h>

#include "delivery_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    world_live(data, size);
    return 0;
}
