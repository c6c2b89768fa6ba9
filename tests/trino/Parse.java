import io.trino.sql.parser.ParsingException;
import io.trino.sql.parser.SqlParser;
import java.nio.charset.StandardCharsets;

/** Reads SQL statements from standard input, a NUL after each; says `ok` or what is wrong, one line for each. */
public class Parse {
    public static void main(String[] none) throws Exception {
        String all = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
        for (String sql : all.split("\0")) {
            try {
                new SqlParser().createStatement(sql);
                System.out.println("ok");
            } catch (ParsingException wrong) {
                System.out.println(wrong.getMessage().replace('\n', ' '));
            }
        }
    }
}
