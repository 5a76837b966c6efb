/* chat_memory.c -- a chat program's loop: fetch what matters for the next answer, then remember the turn.
 *
 *     cc chat_memory.c $(pkg-config --cflags --libs mneme) -o chat_memory && ./chat_memory
 *
 * Each line typed is a turn. What mneme prints is what the program would put before the prompt of its model. */
#include <mneme.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    mneme *memory = NULL;
    mneme_error error;
    if (mneme_open("chat.mneme", NULL, 0, &memory, &error) != MNEME_OK) return fprintf(stderr, "%s\n", error.message), 4;
    char line[4096], id[32];
    for (int turn = 1; printf("> ") && fflush(stdout) == 0 && fgets(line, sizeof line, stdin); turn++) {
        line[strcspn(line, "\n")] = '\0';
        mneme_window *window = NULL;
        mneme_context_options options = MNEME_CONTEXT_OPTIONS_INIT;
        options.budget = 256;
        if (mneme_context(memory, line, &options, &window, &error) == MNEME_OK) printf("%s\n", window->text);
        mneme_window_free(window);
        snprintf(id, sizeof id, "turn-%d", turn);
        mneme_record record = {.id = id, .session = "chat", .speaker = "user", .text = line};
        if (mneme_add(memory, &record, 1, NULL, NULL, &error) != MNEME_OK) fprintf(stderr, "%s\n", error.message);
    }
    mneme_close(memory);
    return 0;
}
