/* Reads records from standard input (a 4-byte length before each), each from a block of memory of just its size. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "plain_json.c"

int main(void) {
    const uint8_t names[] = "event_idtitle_idcontent_idevent_ts";
    const int32_t name_ends[] = {8, 16, 26, 34}, name_slots[] = {0, 1, 1, 2};
    uint32_t length;
    long plain = 0;
    while (fread(&length, sizeof length, 1, stdin) == 1) {
        uint8_t *data = malloc(length);
        if (data == NULL || fread(data, 1, length, stdin) != length) return 2;
        const int32_t offsets[] = {0, (int32_t)length};
        int32_t begins[2], lengths[3];
        double numbers[1];
        int64_t sizes[2];
        uint8_t kind;
        plain_json_read(data, offsets, 1, names, name_ends, name_slots, 4, 2, 3, 3, begins, lengths, numbers, sizes, &kind);
        for (int slot = 0; slot < 2; slot++) {
            uint8_t valid, *text = malloc((size_t)sizes[slot]);
            int32_t ends[2];
            plain_json_gather(data, begins + slot, lengths + slot, 1, &valid, ends, text);
            if (ends[1] != sizes[slot]) return 3;
            free(text);
        }
        plain += kind != 0;
        free(data);
    }
    printf("%ld\n", plain);
    return 0;
}
