/* Reads records from standard input (a 4-byte length before each), each from a block of memory of just its size. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "plain_avro.c"

int main(void) {
    /* event_id: string; event_ts: null, double; pad: null, bytes, boolean, float, long; title_id: null, string */
    const int32_t slots[] = {0, 2, -1, 1}, kind_ends[] = {1, 3, 8, 10};
    const uint8_t is_union[] = {0, 1, 1, 1};
    const uint8_t kinds[] = {STRING, NOTHING, DOUBLE, NOTHING, BYTES, BOOLEAN, FLOAT, LONG, NOTHING, STRING};
    const double per_second[] = {1, 1, 1, 1};
    uint32_t length;
    long plain = 0;
    while (fread(&length, sizeof length, 1, stdin) == 1) {
        uint8_t *data = malloc(length);
        if (data == NULL || fread(data, 1, length, stdin) != length) return 2;
        const int32_t offsets[] = {0, (int32_t)length};
        int32_t begins[2], lengths[3];
        double numbers[1];
        int64_t sizes[2];
        uint8_t is_plain;
        plain_avro_read(data, offsets, 1, slots, kind_ends, is_union, kinds, per_second, 4, 2, 3, 3, begins, lengths, numbers,
                        sizes, &is_plain);
        for (int slot = 0; slot < 2; slot++) {
            if (lengths[slot] < 0) continue;
            if (sizes[slot] != lengths[slot] || begins[slot] + lengths[slot] > (int32_t)length) return 3;
        }
        plain += is_plain;
        free(data);
    }
    printf("%ld\n", plain);
    return 0;
}
