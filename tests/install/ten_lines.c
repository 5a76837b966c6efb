#include <mneme.h>
int main(int argc, char **argv)
{
    mneme *memory = NULL;
    mneme_error error;
    if (argc < 2 || mneme_open(argv[1], NULL, 0, &memory, &error) != MNEME_OK) return puts(error.message), 4;
    mneme_record record = {.id = "1", .text = "The spare key is under the third flower pot."};
    mneme_hits *hits = NULL;
    if (mneme_add(memory, &record, 1, NULL, NULL, &error) != MNEME_OK) return puts(error.message), 4;
    if (mneme_query(memory, "where is the key?", NULL, &hits, &error) != MNEME_OK) return puts(error.message), 4;
    printf("%.*s\n", (int)hits->items[0].text_size, hits->items[0].text);
    mneme_hits_free(hits);
    mneme_close(memory);
}
