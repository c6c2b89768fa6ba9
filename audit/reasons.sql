-- grain:    one row per reason; a quarantine row with several reasons counts for each.
-- purpose:  why records were refused.
-- reads:    quarantine (one column of it)
select reason, count(*) as quarantined
from (select unnest(reasons) as reason from quarantine)
group by reason
order by quarantined desc, reason
