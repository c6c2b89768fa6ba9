-- Run once on each connection: what the filters mean. An empty choice is all; `none` stands for rows that sent none.
create macro is_chosen(sent, chosen) as
    len(cast(chosen as text[])) = 0 or list_contains(cast(chosen as text[]), coalesce(sent, 'none'));
