/* Reads records from standard input (a 4-byte length before each), each from a block of memory of just its size, and says
 * how many of them were plain. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Whether a record is plain; below 0 where its columns can't be right. */
static int read_one(const uint8_t *data, int32_t length);

int main(void) {
    uint32_t length;
    long plain = 0;
    while (fread(&length, sizeof length, 1, stdin) == 1) {
        uint8_t *data = malloc(length);
        if (data == NULL || fread(data, 1, length, stdin) != length) return 2;
        const int is_plain = read_one(data, (int32_t)length);
        if (is_plain < 0) return 3;
        plain += is_plain;
        free(data);
    }
    printf("%ld\n", plain);
    return 0;
}
