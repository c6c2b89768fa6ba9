-- Share of each date's viewings that got to half, and to nearly all, of the title.
select
    event_date,
    max(share_of_started) filter (where name = 'half') as half,
    max(share_of_started) filter (where name = 'nearly all') as nearly_all
from gold.funnel
where event_date between $first and $last
group by event_date
order by event_date
